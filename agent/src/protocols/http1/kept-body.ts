/** The kept beginning of one message body, within the connection's limit and the memory budget. */
import type { Body } from '../../exchange/exchange.js'
import type { ParserHost } from '../protocol.js'

/** Pieces smaller than this are gathered: a body of one-byte chunks must not cost an object a byte. */
const BLOCK_BYTES = 4096

export class KeptBody {
  size = 0
  #truncated = false
  #keptBytes = 0
  #heldBytes = 0
  #chunks: Uint8Array[] = []
  #block: Uint8Array | undefined
  #blockUsed = 0
  readonly #host: ParserHost

  constructor(host: ParserHost) {
    this.#host = host
  }

  /** Counts bytes from `from` to `to` and copies what is kept of them. */
  add(bytes: Uint8Array, from: number, to: number): void {
    this.size += to - from
    if (this.#truncated) return
    const room = this.#host.maxBodyBytes - this.#keptBytes
    const end = Math.min(to, from + room)
    if (end > from && !this.#keep(bytes.subarray(from, end))) this.#truncated = true
    if (end < to) this.#truncated = true
  }

  /** Counts bytes that were not seen: what comes after them is not kept. */
  skip(count: number): void {
    this.size += count
    this.#truncated = true
  }

  /** Lets go of what was kept; returns the bytes given back. */
  drop(): number {
    const freed = this.#heldBytes
    if (this.#keptBytes > 0) this.#truncated = true
    this.#chunks = []
    this.#block = undefined
    this.#keptBytes = 0
    this.#heldBytes = 0
    this.#host.release(freed)
    return freed
  }

  /** The body as it stands; what it held no longer counts as held here. */
  take(): Body {
    if (this.#block !== undefined) this.#chunks.push(this.#block.subarray(0, this.#blockUsed))
    this.#block = undefined
    this.#host.release(this.#heldBytes)
    this.#heldBytes = 0
    const body = { chunks: this.#chunks, size: this.size, truncated: this.#truncated }
    // Bytes that come after (a request cut off early) are only counted.
    this.#truncated = true
    return body
  }

  #keep(piece: Uint8Array): boolean {
    const isLater = this.#keptBytes > 0
    if (this.#block !== undefined && this.#blockUsed + piece.length <= BLOCK_BYTES) {
      this.#block.set(piece, this.#blockUsed)
      this.#blockUsed += piece.length
    } else if (isLater && piece.length < BLOCK_BYTES) {
      if (!this.#hold(BLOCK_BYTES)) return false
      this.#closeBlock()
      this.#block = new Uint8Array(BLOCK_BYTES)
      this.#block.set(piece)
      this.#blockUsed = piece.length
    } else {
      if (!this.#hold(piece.length)) return false
      this.#closeBlock()
      // From the pool where small: an ArrayBuffer of its own costs more than the copy.
      this.#chunks.push(Buffer.from(piece))
    }
    this.#keptBytes += piece.length
    return true
  }

  #hold(bytes: number): boolean {
    if (!this.#host.hold(bytes)) return false
    this.#heldBytes += bytes
    return true
  }

  #closeBlock(): void {
    if (this.#block === undefined) return
    this.#chunks.push(this.#block.subarray(0, this.#blockUsed))
    this.#block = undefined
  }
}
