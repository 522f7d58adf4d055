/** Rows in ClickHouse's RowBinary format, written into one growing buffer. */

const FIRST_CAPACITY = 64 * 1024

export class RowBuffer {
  #bytes: Uint8Array
  #view: DataView
  #length = 0
  /** Rows written and kept. */
  rows = 0

  constructor(capacity = FIRST_CAPACITY) {
    this.#bytes = new Uint8Array(capacity)
    this.#view = new DataView(this.#bytes.buffer)
  }

  get length(): number {
    return this.#length
  }

  /** What was written: a view, valid until the next write. */
  written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Empties it; its memory is kept. */
  clear(): void {
    this.#length = 0
    this.rows = 0
  }

  /** Drops everything after `length`: a row that turned out bad. */
  truncate(length: number): void {
    this.#length = length
  }

  u8(value: number): void {
    const at = this.#take(1)
    this.#bytes[at] = value
  }

  u16(value: number): void {
    const at = this.#take(2)
    this.#view.setUint16(at, value, true)
  }

  u32(value: number): void {
    const at = this.#take(4)
    this.#view.setUint32(at, value, true)
  }

  /** 64 bits as two halves. */
  u64(low: number, high: number): void {
    const at = this.#take(8)
    this.#view.setUint32(at, low, true)
    this.#view.setUint32(at + 4, high, true)
  }

  bigint(value: bigint): void {
    const at = this.#take(8)
    this.#view.setBigInt64(at, value, true)
  }

  zeros(count: number): void {
    const at = this.#take(count)
    this.#bytes.fill(0, at, at + count)
  }

  /** LEB128, as lengths are written. */
  length32(value: number): void {
    let rest = value
    while (rest > 0x7f) {
      this.u8((rest & 0x7f) | 0x80)
      rest >>>= 7
    }
    this.u8(rest)
  }

  /** Bytes without a length. */
  raw(source: Uint8Array, start: number, end: number): void {
    const count = end - start
    const at = this.#take(count)
    const bytes = this.#bytes
    if (count > 64) bytes.set(source.subarray(start, end), at)
    else for (let i = 0; i < count; i += 1) bytes[at + i] = source[start + i] ?? 0
  }

  /** A length and bytes. */
  text(source: Uint8Array, start: number, end: number): void {
    this.length32(end - start)
    this.raw(source, start, end)
  }

  /** Room for `count` more bytes; returns where they start. */
  #take(count: number): number {
    const at = this.#length
    const end = at + count
    if (end > this.#bytes.length) this.#grow(end)
    this.#length = end
    return at
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
    this.#view = new DataView(larger.buffer)
  }
}
