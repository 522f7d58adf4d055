/** Values between their text in ClickHouse and their form in messages. */
import type { Timestamp } from '../../../gen/google/protobuf/timestamp.js'

export function bytesFromHex(hex: string): Buffer {
  return Buffer.from(hex, 'hex')
}

/** 8-4-4-4-12 from 32 hex digits. */
export function uuidText(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

export function timestampFromMicros(micros: bigint): Timestamp {
  const seconds = micros / 1_000_000n
  return { seconds, nanos: Number(micros - seconds * 1_000_000n) * 1000 }
}

/** 4 or 16 bytes from the text of an IPv6 value; "::" means unknown: none. */
export function addressFromText(text: string): Buffer {
  if (text === '::') return Buffer.alloc(0)
  const mapped = /^::ffff:(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text)
  if (mapped) return Buffer.from(mapped.slice(1).map(Number))
  return ipv6Bytes(text)
}

/** The text of an address of 4 or 16 bytes; empty for none. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16) return ''
  const groups: string[] = []
  for (let i = 0; i < 16; i += 2) groups.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16))
  return groups.join(':')
}

/** 16 bytes from a valid IPv6 text without an IPv4 tail of its own beyond the last group. */
function ipv6Bytes(text: string): Buffer {
  const plain = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, a, b, c, d) =>
    [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)].map((n) => n.toString(16)).join(':'),
  )
  const [head = '', tail] = plain.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const fill = new Array<string>(Math.max(0, 8 - before.length - after.length)).fill('0')
  const groups = tail === undefined ? before : [...before, ...fill, ...after]
  const bytes = Buffer.alloc(16)
  groups.slice(0, 8).forEach((group, i) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16) & 0xffff, i * 2)
  })
  return bytes
}
