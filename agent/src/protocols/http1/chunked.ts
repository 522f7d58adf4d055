/** Transfer coding "chunked" (RFC 9112 section 7.1), push by push. */

/** A chunk's size line with its extensions, and all trailer fields together. */
const MAX_LINE_BYTES = 4096
const MAX_TRAILER_BYTES = 16_384
/** Hex digits of a size: 2^52 - 1 is the largest. */
const MAX_SIZE_DIGITS = 13

const CR = 0x0d
const LF = 0x0a

type State =
  | 'size'
  | 'extension'
  | 'size_lf'
  | 'data'
  | 'data_cr'
  | 'data_lf'
  | 'trailer_start'
  | 'trailer'
  | 'trailer_lf'
  | 'end_lf'

/** Decodes one body. `done` or `bad` are final. */
export class ChunkedDecoder {
  done = false
  bad = false
  #state: State = 'size'
  #size = 0
  #digits = 0
  #lineBytes = 0
  /** Bytes of the current chunk that are still to come. */
  #left = 0

  /** Takes bytes from `from` on, hands data runs to onData, returns the index behind the last byte taken. */
  push(
    bytes: Uint8Array,
    from: number,
    onData: (bytes: Uint8Array, from: number, to: number) => void,
  ): number {
    let at = from
    while (at < bytes.length && !this.done && !this.bad) {
      if (this.#state === 'data') {
        const to = Math.min(bytes.length, at + this.#left)
        onData(bytes, at, to)
        this.#left -= to - at
        at = to
        if (this.#left === 0) this.#state = 'data_cr'
      } else {
        this.#framing(bytes[at] ?? 0)
        at++
      }
    }
    return at
  }

  /** Passes over lost bytes: possible only inside one chunk's data. */
  skip(count: number): boolean {
    if (this.#state !== 'data' || count > this.#left) return false
    this.#left -= count
    if (this.#left === 0) this.#state = 'data_cr'
    return true
  }

  #framing(byte: number): void {
    switch (this.#state) {
      case 'size':
        this.#sizeByte(byte)
        break
      case 'extension':
        if (++this.#lineBytes > MAX_LINE_BYTES || byte === LF || byte === 0) this.bad = true
        else if (byte === CR) this.#state = 'size_lf'
        break
      case 'size_lf':
        if (byte === LF) this.#beginChunk()
        else this.bad = true
        break
      case 'data':
        break
      case 'data_cr':
        this.#expect(byte, CR, 'data_lf')
        break
      case 'data_lf':
        this.#size = 0
        this.#digits = 0
        this.#lineBytes = 0
        this.#expect(byte, LF, 'size')
        break
      case 'trailer_start':
        if (byte === CR) this.#state = 'end_lf'
        else this.#trailerByte(byte)
        break
      case 'trailer':
        this.#trailerByte(byte)
        break
      case 'trailer_lf':
        this.#expect(byte, LF, 'trailer_start')
        break
      case 'end_lf':
        if (byte === LF) this.done = true
        else this.bad = true
        break
    }
  }

  #sizeByte(byte: number): void {
    const digit = hexDigit(byte)
    if (digit >= 0) {
      this.#size = this.#size * 16 + digit
      if (++this.#digits > MAX_SIZE_DIGITS) this.bad = true
    } else if (this.#digits === 0) this.bad = true
    else if (byte === CR) this.#state = 'size_lf'
    else if (byte === 0x3b || byte === 0x20 || byte === 0x09) this.#state = 'extension'
    else this.bad = true
  }

  #beginChunk(): void {
    this.#left = this.#size
    this.#lineBytes = 0
    this.#state = this.#size === 0 ? 'trailer_start' : 'data'
  }

  #trailerByte(byte: number): void {
    this.#state = byte === CR ? 'trailer_lf' : 'trailer'
    if (++this.#lineBytes > MAX_TRAILER_BYTES || byte === LF || byte === 0) this.bad = true
  }

  #expect(byte: number, wanted: number, next: State): void {
    if (byte === wanted) this.#state = next
    else this.bad = true
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}
