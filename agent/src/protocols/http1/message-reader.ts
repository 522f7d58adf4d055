/** One side of a connection: cuts its bytes into messages (RFC 9112). Knows nothing of pairing. */
import type { HttpMessage } from '../../exchange/exchange.js'
import type { ParserHost, Side } from '../protocol.js'
import { ChunkedDecoder } from './chunked.js'
import { findHeadEnd, type Head, type Headers, type HeadProblem, parseHead } from './head.js'
import type { HeadMemory } from './head-memory.js'
import { KeptBody } from './kept-body.js'

/** Longest head, start line and fields together; longer is given up on. */
export const MAX_HEAD_BYTES = 65_536
const FIRST_HEAD_BUFFER_BYTES = 1024

/** How the body behind a head ends; a number is its length. */
export type Framing = number | 'no_body' | 'chunked' | 'until_close'

/** `orphan`: nothing waits for such a message, the side is out of step. `bad_start_line`: it is no message. */
export type Refusal = 'orphan' | 'bad_start_line'

/** Why a side cannot be read on. */
export type ReaderProblem = HeadProblem | 'head_limit' | 'bad_chunk' | 'over_budget'

/** What a reader reports to; calls come from within push. */
export interface ReaderOwner {
  /** A head is complete. May stop the reader; what is returned is then not looked at. */
  onHead(side: Side, message: MessageDraft, head: Head): Framing | Refusal
  onMessageEnd(side: Side, message: MessageDraft): void
  onProblem(side: Side, problem: ReaderProblem): void
}

/** A message that is being read. */
export class MessageDraft {
  readonly startLine: string
  readonly headers: Headers
  readonly headBytes: number
  readonly startNs: bigint
  body: KeptBody | undefined = undefined
  wireBytes: number
  lostBytes = 0
  endNs: bigint

  constructor(head: Head, headBytes: number, startNs: bigint, endNs: bigint) {
    this.startLine = head.startLine
    this.headers = head.headers
    this.headBytes = headBytes
    this.startNs = startNs
    this.wireBytes = headBytes
    this.endNs = endNs
  }

  toMessage(): HttpMessage {
    const { startLine, headers, wireBytes, startNs, endNs } = this
    if (this.body === undefined) return { startLine, headers, wireBytes, startNs, endNs }
    return { startLine, headers, body: this.body.take(), wireBytes, startNs, endNs }
  }
}

/** `lost`: out of step, waits for resume. `stopped`: for good. */
type State = 'head' | 'length' | 'chunked' | 'until_close' | 'lost' | 'stopped'

export class MessageReader {
  #state: State = 'head'
  /** Trying whether a message begins here: a bad head only means that none does. */
  #probing = false
  #headBuffer: Uint8Array | undefined
  #headUsed = 0
  #startNs = 0n
  #message: MessageDraft | undefined
  #left = 0
  #decoder: ChunkedDecoder | undefined
  readonly #side: Side
  readonly #host: ParserHost
  readonly #owner: ReaderOwner
  readonly #memory: HeadMemory
  readonly #slot: number
  readonly #addToBody = (bytes: Uint8Array, from: number, to: number): void => {
    this.#message?.body?.add(bytes, from, to)
  }

  constructor(side: Side, host: ParserHost, owner: ReaderOwner, memory: HeadMemory) {
    this.#side = side
    this.#host = host
    this.#owner = owner
    this.#memory = memory
    this.#slot = memory.takeSlot()
  }

  get isLost(): boolean {
    return this.#state === 'lost'
  }

  /** True if the body in progress ends with the connection. */
  get endsWithConnection(): boolean {
    return this.#state === 'until_close'
  }

  push(bytes: Uint8Array, timeNs: bigint): void {
    let at = 0
    while (at < bytes.length) {
      switch (this.#state) {
        case 'head':
          at = this.#pushHead(bytes, at, timeNs)
          break
        case 'length':
        case 'until_close':
          at = this.#pushPlain(bytes, at, timeNs)
          break
        case 'chunked':
          at = this.#pushChunked(bytes, at, timeNs)
          break
        case 'lost':
        case 'stopped':
          return
      }
    }
  }

  /**
   * The next `count` bytes are lost. Returns the message that they cut off if the place of the next one is
   * lost with them, `in_step` if it is not.
   */
  gap(count: number, timeNs: bigint): 'in_step' | MessageDraft | undefined {
    const message = this.#message
    if (this.#state === 'stopped' || this.#state === 'lost') return undefined
    if (message === undefined) return this.lose()
    message.lostBytes += count
    message.wireBytes += count
    const isInside =
      this.#state === 'until_close' ||
      (this.#state === 'length' && count <= this.#left) ||
      (this.#state === 'chunked' && this.#decoder?.skip(count) === true)
    if (!isInside) return this.lose()
    message.endNs = timeNs
    message.body?.skip(count)
    if (this.#state === 'length') {
      this.#left -= count
      if (this.#left === 0) this.#endMessage()
    }
    return 'in_step'
  }

  /** Forgets where messages begin; returns the message that was open. */
  lose(): MessageDraft | undefined {
    const message = this.#message
    this.#reset('lost')
    return message
  }

  /** Takes the next byte for the beginning of a message, on trial. */
  probe(): void {
    this.#reset('head')
    this.#probing = true
  }

  stop(): void {
    this.#reset('stopped')
  }

  #reset(state: State): void {
    this.#releaseHead()
    this.#message = undefined
    this.#decoder = undefined
    this.#probing = false
    this.#state = state
  }

  #pushHead(bytes: Uint8Array, from: number, timeNs: bigint): number {
    if (this.#headUsed > 0) return this.#pushHeadPart(bytes, from, timeNs)
    let at = from
    while (bytes[at] === 0x0d || bytes[at] === 0x0a) at++
    if (at === bytes.length) return at
    this.#startNs = timeNs
    const known = this.#memory.find(this.#slot, bytes, at)
    if (known !== undefined) {
      this.#takeHead(known.head, known.bytes, timeNs)
      return at + known.bytes
    }
    const end = findHeadEnd(bytes, at, bytes.length)
    if (end === -1) return this.#pushHeadPart(bytes, at, timeNs)
    if (end - at > MAX_HEAD_BYTES) this.#fail('head_limit')
    else {
      const head = this.#endHead(latin1(bytes, at, end), timeNs)
      if (head !== undefined) this.#memory.remember(this.#slot, head, bytes, at, end)
    }
    return end
  }

  /** A head that comes in several pushes is gathered in a buffer of its own. */
  #pushHeadPart(bytes: Uint8Array, from: number, timeNs: bigint): number {
    const used = this.#headUsed
    const take = Math.min(bytes.length - from, MAX_HEAD_BYTES - used)
    const buffer = this.#headRoom(used + take)
    if (buffer === undefined) {
      this.#fail('over_budget')
      return bytes.length
    }
    buffer.set(bytes.subarray(from, from + take), used)
    this.#headUsed = used + take
    const end = findHeadEnd(buffer, Math.max(0, used - 3), this.#headUsed)
    if (end !== -1) {
      const text = latin1(buffer, 0, end)
      this.#releaseHead()
      this.#endHead(text, timeNs)
      return from + end - used
    }
    if (this.#headUsed === MAX_HEAD_BYTES) this.#fail('head_limit')
    return from + take
  }

  #headRoom(bytes: number): Uint8Array | undefined {
    const old = this.#headBuffer
    if (old !== undefined && old.length >= bytes) return old
    let capacity = Math.max(FIRST_HEAD_BUFFER_BYTES, old?.length ?? 0)
    while (capacity < bytes) capacity *= 2
    if (!this.#host.hold(capacity - (old?.length ?? 0))) return undefined
    const grown = new Uint8Array(capacity)
    if (old !== undefined) grown.set(old)
    this.#headBuffer = grown
    return grown
  }

  #releaseHead(): void {
    if (this.#headBuffer !== undefined) this.#host.release(this.#headBuffer.length)
    this.#headBuffer = undefined
    this.#headUsed = 0
  }

  /** Undefined if it is none. */
  #endHead(text: string, timeNs: bigint): Head | undefined {
    const head = parseHead(text)
    if (typeof head === 'string') {
      this.#fail(head)
      return undefined
    }
    this.#takeHead(head, text.length, timeNs)
    return head
  }

  #takeHead(head: Head, headBytes: number, timeNs: bigint): void {
    const message = new MessageDraft(head, headBytes, this.#startNs, timeNs)
    const framing = this.#owner.onHead(this.#side, message, head)
    if (this.#state === 'stopped') return
    if (framing === 'bad_start_line') this.#fail(framing)
    else if (framing === 'orphan') this.#reset('lost')
    else this.#beginBody(message, framing)
  }

  #beginBody(message: MessageDraft, framing: Framing): void {
    this.#probing = false
    this.#message = message
    if (framing === 'no_body') {
      this.#endMessage()
      return
    }
    message.body = new KeptBody(this.#host)
    if (framing === 'chunked') {
      this.#decoder = new ChunkedDecoder()
      this.#state = 'chunked'
    } else if (framing === 'until_close') {
      this.#state = 'until_close'
    } else if (framing === 0) {
      this.#endMessage()
    } else {
      this.#left = framing
      this.#state = 'length'
    }
  }

  #pushPlain(bytes: Uint8Array, from: number, timeNs: bigint): number {
    const message = this.#message
    if (message === undefined) return bytes.length
    const isLength = this.#state === 'length'
    const to = isLength ? Math.min(bytes.length, from + this.#left) : bytes.length
    message.body?.add(bytes, from, to)
    message.wireBytes += to - from
    message.endNs = timeNs
    if (isLength) {
      this.#left -= to - from
      if (this.#left === 0) this.#endMessage()
    }
    return to
  }

  #pushChunked(bytes: Uint8Array, from: number, timeNs: bigint): number {
    const message = this.#message
    const decoder = this.#decoder
    if (message === undefined || decoder === undefined) return bytes.length
    const to = decoder.push(bytes, from, this.#addToBody)
    message.wireBytes += to - from
    message.endNs = timeNs
    if (decoder.bad) this.#fail('bad_chunk')
    else if (decoder.done) this.#endMessage()
    return to
  }

  #endMessage(): void {
    const message = this.#message
    this.#message = undefined
    this.#decoder = undefined
    this.#state = 'head'
    if (message !== undefined) this.#owner.onMessageEnd(this.#side, message)
  }

  #fail(problem: ReaderProblem): void {
    if (this.#probing) this.#reset('lost')
    else this.#owner.onProblem(this.#side, problem)
  }
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1')
}
