/** Columns of the event tables: how a slot becomes a value in a row, and what values are accepted. */
import { isUtf8 } from 'node:buffer'
import type { RowBuffer } from './row-buffer.js'
import type { Slots } from './wire.js'

/** A value of a column that the row's batch or block decides, not the event. */
export type GivenColumn =
  | 'org'
  | 'ingested_at'
  | 'process'
  | 'stream_id'
  | 'seq'
  | 'batch_index'
  | 'artifacts'

/** How a column is filled from a slot. */
export type Encoding =
  | { readonly kind: 'text'; readonly maxBytes: number }
  /** Exactly `size` bytes; none (zeros) too if `optional`. */
  | { readonly kind: 'fixed'; readonly size: number; readonly optional: boolean }
  | { readonly kind: 'address' }
  /** Enum8 with numbers 0 to `last`. */
  | { readonly kind: 'enum'; readonly last: number }
  | { readonly kind: 'bool' | 'u8' | 'u16' | 'u32' | 'u64' }
  /** Nanoseconds since the epoch, as DateTime64(9). */
  | { readonly kind: 'time' }

export type Column =
  | { readonly name: string; readonly given: GivenColumn }
  | { readonly name: string; readonly slot: number; readonly encoding: Encoding }

/** Why a value is refused; `field` is the column's name. */
export interface Refusal {
  readonly field: string
  readonly reason: string
}

export const SHORT_TEXT: Encoding = { kind: 'text', maxBytes: 1024 }
export const NAME_TEXT: Encoding = { kind: 'text', maxBytes: 4096 }
export const LONG_TEXT: Encoding = { kind: 'text', maxBytes: 65_536 }
export const UUID: Encoding = { kind: 'fixed', size: 16, optional: false }

const MAX_INT32 = 0x7fff_ffff

/** Writes a slot's value, or says why it is refused; then the row must be cut off. */
export function writeSlot(
  rows: RowBuffer,
  source: Uint8Array,
  slots: Slots,
  slot: number,
  encoding: Encoding,
): string | undefined {
  const low = slots.low[slot] ?? 0
  const high = slots.high[slot] ?? 0
  switch (encoding.kind) {
    case 'text':
      return writeText(rows, source, low, high, encoding.maxBytes)
    case 'fixed':
      return writeFixed(rows, source, low, high, encoding)
    case 'address':
      return writeAddress(rows, source, low, high)
    case 'enum':
      if (high !== 0 || low > encoding.last)
        return `expected 0 to ${encoding.last}, got ${decimal(low, high)}`
      return void rows.u8(low)
    case 'bool':
      return void rows.u8(low !== 0 || high !== 0 ? 1 : 0)
    case 'u8':
      if (high !== 0 || low > 0xff) return `expected at most 255, got ${decimal(low, high)}`
      return void rows.u8(low)
    case 'u16':
      if (high !== 0 || low > 0xffff) return `expected at most 65535, got ${decimal(low, high)}`
      return void rows.u16(low)
    case 'u32':
      return void rows.u32(low)
    case 'u64':
      return void rows.u64(low, high)
    case 'time':
      if (high > MAX_INT32) return `expected a time before the year 2262, got ${decimal(low, high)}`
      return void rows.u64(low, high)
  }
}

function writeText(
  rows: RowBuffer,
  source: Uint8Array,
  start: number,
  end: number,
  maxBytes: number,
): string | undefined {
  if (end - start > maxBytes) return `expected at most ${maxBytes} bytes, got ${end - start}`
  let bits = 0
  for (let at = start; at < end; at += 1) bits |= source[at] ?? 0
  if (bits > 0x7f && !isUtf8(source.subarray(start, end))) return 'expected UTF-8'
  rows.text(source, start, end)
  return undefined
}

function writeFixed(
  rows: RowBuffer,
  source: Uint8Array,
  start: number,
  end: number,
  encoding: { readonly size: number; readonly optional: boolean },
): string | undefined {
  const got = end - start
  if (got === encoding.size) return void rows.raw(source, start, end)
  if (got === 0 && encoding.optional) return void rows.zeros(encoding.size)
  return `expected ${encoding.size} bytes${encoding.optional ? ' or none' : ''}, got ${got}`
}

/** As IPv6; 4 bytes as IPv4-mapped; unknown as "::". */
function writeAddress(rows: RowBuffer, source: Uint8Array, start: number, end: number): string | undefined {
  switch (end - start) {
    case 0:
      return void rows.zeros(16)
    case 4:
      rows.zeros(10)
      rows.u16(0xffff)
      return void rows.raw(source, start, end)
    case 16:
      return void rows.raw(source, start, end)
    default:
      return `expected 4 or 16 bytes or none, got ${end - start}`
  }
}

function decimal(low: number, high: number): string {
  return ((BigInt(high) << 32n) | BigInt(low)).toString()
}
