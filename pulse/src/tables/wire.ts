/**
 * Reads protobuf without making objects: a field's number or place goes into a numbered slot.
 * What the events of a batch need on their way into rows; everything else decodes with the generated code.
 * Source: protobuf.dev/programming-guides/encoding.
 */

/** The bytes are not what the schema says; the whole payload is unusable. */
export class MalformedError extends Error {}

/** Numbers go to low and high halves; bytes and text to start (low) and end (high) in the payload. */
export class Slots {
  readonly low: Uint32Array
  readonly high: Uint32Array
  /** Repeated messages: start and end of each, in turn. */
  readonly repeated: number[] = []

  constructor(count: number) {
    this.low = new Uint32Array(count)
    this.high = new Uint32Array(count)
  }

  clear(from = 0): void {
    this.low.fill(0, from)
    this.high.fill(0, from)
    this.repeated.length = 0
  }
}

const VARINT = 0
const FIXED64 = 1
const BYTES = 2
const FIXED32 = 5

/** What a field number means. Fields without one are skipped, as unknown fields are. */
export type FieldPlan =
  | { readonly kind: 'varint'; readonly wire: typeof VARINT; readonly slot: number }
  | { readonly kind: 'fixed64'; readonly wire: typeof FIXED64; readonly slot: number }
  | { readonly kind: 'bytes'; readonly wire: typeof BYTES; readonly slot: number }
  | { readonly kind: 'message'; readonly wire: typeof BYTES; readonly plan: MessagePlan }
  | { readonly kind: 'repeated'; readonly wire: typeof BYTES }

/** Field plans by field number. */
export type MessagePlan = readonly (FieldPlan | undefined)[]

export const varint = (slot: number): FieldPlan => ({ kind: 'varint', wire: VARINT, slot })
export const fixed64 = (slot: number): FieldPlan => ({ kind: 'fixed64', wire: FIXED64, slot })
export const bytes = (slot: number): FieldPlan => ({ kind: 'bytes', wire: BYTES, slot })
export const message = (plan: MessagePlan): FieldPlan => ({ kind: 'message', wire: BYTES, plan })
export const repeated: FieldPlan = { kind: 'repeated', wire: BYTES }

/** Builds a message plan from field number to field plan. */
export function messagePlan(fields: Readonly<Record<number, FieldPlan>>): MessagePlan {
  const plan: (FieldPlan | undefined)[] = []
  for (const [number, field] of Object.entries(fields)) plan[Number(number)] = field
  return Array.from(plan)
}

export class WireReader {
  readonly bytes: Uint8Array
  at = 0
  /** Halves of the latest varint or fixed64. */
  low = 0
  high = 0

  constructor(payload: Uint8Array) {
    this.bytes = payload
  }

  /** Reads a message that ends at `end` into slots. Throws MalformedError. */
  read(plan: MessagePlan, end: number, slots: Slots): void {
    while (this.at < end) {
      this.field(plan, this.tag(), end, slots)
    }
    if (this.at !== end) throw new MalformedError('a field runs over the end of its message')
  }

  /** Reads the field whose tag was just read. */
  field(plan: MessagePlan, tag: number, end: number, slots: Slots): void {
    const field = plan[tag >>> 3]
    if (field === undefined || field.wire !== (tag & 7)) {
      this.skip(tag & 7, end)
      return
    }
    switch (field.kind) {
      case 'varint':
        this.varint()
        slots.low[field.slot] = this.low
        slots.high[field.slot] = this.high
        return
      case 'fixed64':
        this.fixed64(end)
        slots.low[field.slot] = this.low
        slots.high[field.slot] = this.high
        return
      case 'bytes': {
        const stop = this.lengthEnd(end)
        slots.low[field.slot] = this.at
        slots.high[field.slot] = stop
        this.at = stop
        return
      }
      case 'message':
        this.read(field.plan, this.lengthEnd(end), slots)
        return
      case 'repeated': {
        const stop = this.lengthEnd(end)
        slots.repeated.push(this.at, stop)
        this.at = stop
        return
      }
    }
  }

  /** A tag: field number << 3 | wire type. */
  tag(): number {
    const first = this.bytes[this.at]
    if (first !== undefined && first < 0x80 && first >= 8) {
      this.at += 1
      return first
    }
    this.varint()
    if (this.high !== 0 || this.low < 8) throw new MalformedError('a field number is out of range')
    return this.low
  }

  /** Into low and high. */
  varint(): void {
    const source = this.bytes
    let byte = source[this.at]
    if (byte !== undefined && byte < 0x80) {
      this.at += 1
      this.low = byte
      this.high = 0
      return
    }
    let low = 0
    let high = 0
    for (let shift = 0; shift < 70; shift += 7) {
      byte = source[this.at]
      if (byte === undefined) break
      this.at += 1
      const part = byte & 0x7f
      if (shift < 28) low |= part << shift
      else if (shift === 28) {
        low |= part << 28
        high = part >>> 4
      } else high |= part << (shift - 32)
      if (byte < 0x80) {
        this.low = low >>> 0
        this.high = high >>> 0
        return
      }
    }
    throw new MalformedError('a number has no end')
  }

  fixed64(end: number): void {
    const at = this.at
    if (at + 8 > end) throw new MalformedError('a field runs over the end of its message')
    const source = this.bytes
    this.low = word(source, at)
    this.high = word(source, at + 4)
    this.at = at + 8
  }

  /** Reads a length; returns where its bytes end. */
  lengthEnd(end: number): number {
    this.varint()
    const stop = this.at + this.low
    if (this.high !== 0 || stop > end) throw new MalformedError('a field runs over the end of its message')
    return stop
  }

  skip(wire: number, end: number): void {
    switch (wire) {
      case VARINT:
        this.varint()
        return
      case FIXED64:
        this.at += 8
        break
      case BYTES:
        this.at = this.lengthEnd(end)
        return
      case FIXED32:
        this.at += 4
        break
      default:
        throw new MalformedError(`wire type ${wire} is not known`)
    }
    if (this.at > end) throw new MalformedError('a field runs over the end of its message')
  }
}

function word(source: Uint8Array, at: number): number {
  const b0 = source[at] ?? 0
  const b1 = source[at + 1] ?? 0
  const b2 = source[at + 2] ?? 0
  const b3 = source[at + 3] ?? 0
  return (b0 | (b1 << 8) | (b2 << 16) | (b3 << 24)) >>> 0
}
