/** One direction of a stream: puts records and losses into the order of their offsets. */

/** Records that wait for an earlier one, each direction; beyond that the hole counts as lost. */
const MAX_WAITING_RECORDS = 32
const MAX_WAITING_BYTES = 262_144

/** Where ordered bytes go. Times: Unix epoch nanoseconds. */
export interface StreamSink {
  onBytes(bytes: Uint8Array, timeNs: bigint): void
  onGap(bytes: number, timeNs: bigint): void
}

interface Waiting {
  readonly offset: number
  readonly length: number
  /** Undefined: these bytes are lost. */
  readonly bytes: Uint8Array | undefined
  readonly timeNs: bigint
}

export class ByteStream {
  /** Bytes that came twice and were left out. */
  duplicateBytes = 0
  #next: number | undefined
  #waiting: Waiting[] = []
  #waitingBytes = 0
  readonly #sink: StreamSink

  constructor(sink: StreamSink) {
    this.#sink = sink
  }

  /** A record; the view is copied if it has to wait. The first offset that is seen is where the stream begins. */
  data(offset: number, bytes: Uint8Array, timeNs: bigint): void {
    if (this.#next === undefined) this.#next = offset
    if (offset === this.#next) {
      this.#next = offset + bytes.length
      this.#sink.onBytes(bytes, timeNs)
      if (this.#waiting.length > 0) this.#drain()
    } else if (offset > this.#next) {
      this.#wait({ offset, length: bytes.length, bytes: new Uint8Array(bytes), timeNs })
    } else {
      this.#deliver({ offset, length: bytes.length, bytes, timeNs })
      this.#drain()
    }
  }

  loss(offset: number, length: number, timeNs: bigint): void {
    if (this.#next === undefined) this.#next = offset
    const piece = { offset, length, bytes: undefined, timeNs }
    if (offset > this.#next) {
      this.#wait(piece)
    } else {
      this.#deliver(piece)
      this.#drain()
    }
  }

  /** Nothing earlier will come any more: holes count as lost. */
  flush(): void {
    while (this.#waiting.length > 0) {
      const first = this.#waiting[0]
      if (first === undefined || this.#next === undefined) return
      if (first.offset > this.#next) {
        const hole = first.offset - this.#next
        this.#next = first.offset
        this.#sink.onGap(hole, first.timeNs)
      }
      this.#drain()
    }
  }

  #wait(piece: Waiting): void {
    const at = this.#waiting.findIndex((other) => other.offset > piece.offset)
    this.#waiting.splice(at === -1 ? this.#waiting.length : at, 0, piece)
    this.#waitingBytes += piece.bytes?.length ?? 0
    if (this.#waiting.length > MAX_WAITING_RECORDS || this.#waitingBytes > MAX_WAITING_BYTES) this.flush()
  }

  #drain(): void {
    let first = this.#waiting[0]
    while (first !== undefined && this.#next !== undefined && first.offset <= this.#next) {
      this.#waiting.shift()
      this.#waitingBytes -= first.bytes?.length ?? 0
      this.#deliver(first)
      first = this.#waiting[0]
    }
  }

  /** Hands on what is new of a piece that begins at or before the next offset. */
  #deliver(piece: Waiting): void {
    const next = this.#next ?? piece.offset
    const known = Math.min(piece.length, next - piece.offset)
    const fresh = piece.length - known
    if (piece.bytes !== undefined) this.duplicateBytes += known
    if (fresh === 0) return
    this.#next = next + fresh
    if (piece.bytes === undefined) this.#sink.onGap(fresh, piece.timeNs)
    else this.#sink.onBytes(known === 0 ? piece.bytes : piece.bytes.subarray(known), piece.timeNs)
  }
}
