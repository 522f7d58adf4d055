/** Values as people read them. Every function is pure and takes what the generated messages hold. */

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** Bytes in decimal units with three figures: "812 B", "1.24 kB". */
export function formatBytes(bytes: bigint | number): string {
  let value = Number(bytes)
  let unit = 0
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${unit === 0 ? value : threeFigures(value)} ${BYTE_UNITS[unit]}`
}

/** Nanoseconds with three figures in the unit that fits: "840 µs", "12.3 ms", "1.50 s", "2 min 5 s". */
export function formatDuration(nano: bigint | number): string {
  const value = Number(nano)
  if (value < 999.5) return `${value} ns`
  if (value < 999_500) return `${threeFigures(value / 1e3)} µs`
  if (value < 999_500_000) return `${threeFigures(value / 1e6)} ms`
  if (value < 60e9) return `${threeFigures(value / 1e9)} s`
  const seconds = Math.round(value / 1e9)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

function threeFigures(value: number): string {
  if (value >= 99.95) return value.toFixed(0)
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2)
}

/** Whole numbers with thin groups: "12 345". */
export function formatCount(count: bigint | number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, '\u202f')
}

/** Local wall time of epoch nanoseconds: "18:04:05.123". */
export function formatTime(unixNano: bigint): string {
  const date = new Date(Number(unixNano / 1_000_000n))
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

/** Local date of epoch nanoseconds: "2026-11-23". */
export function formatDate(unixNano: bigint): string {
  const date = new Date(Number(unixNano / 1_000_000n))
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
}

/** Date, time to the microsecond and offset from UTC: "2026-11-23 18:04:05.123456 +01:00". */
export function formatInstant(unixNano: bigint): string {
  const micros = String((unixNano / 1000n) % 1000n).padStart(3, '0')
  const offset = -new Date(Number(unixNano / 1_000_000n)).getTimezoneOffset()
  const sign = offset < 0 ? '-' : '+'
  const hours = two(Math.floor(Math.abs(offset) / 60))
  return `${formatDate(unixNano)} ${formatTime(unixNano)}${micros} ${sign}${hours}:${two(Math.abs(offset) % 60)}`
}

function two(value: number): string {
  return String(value).padStart(2, '0')
}

/** How long ago: "now", "8 s ago", "3 min ago", "2 h ago", "5 d ago". */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, Math.round(ageMs / 1000))
  if (seconds < 2) return 'now'
  if (seconds < 60) return `${seconds} s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`
  return `${Math.floor(seconds / 86_400)} d ago`
}

/** Bytes as lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** 16 bytes as the text form of a UUID; any other length as plain hex. */
export function formatUuid(bytes: Uint8Array): string {
  const hex = toHex(bytes)
  if (bytes.length !== 16) return hex
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** "10.0.0.1:443", "[2001:db8::1]:443" (RFC 5952), or "" for an address that is not known. */
export function formatSocket(address: Uint8Array, port: number): string {
  if (address.length === 4) return `${address.join('.')}:${port}`
  if (address.length === 16) return `[${formatIpv6(address)}]:${port}`
  return ''
}

function formatIpv6(address: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((address[i * 2] ?? 0) << 8) | (address[i * 2 + 1] ?? 0))
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${address.slice(12).join('.')}`
  }
  const zeros = longestZeroRun(groups)
  const text = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':')
  if (zeros.length < 2) return text(groups)
  return `${text(groups.slice(0, zeros.start))}::${text(groups.slice(zeros.start + zeros.length))}`
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let start = 0
  for (const [i, group] of groups.entries()) {
    if (group !== 0) start = i + 1
    else if (i + 1 - start > best.length) best = { start, length: i + 1 - start }
  }
  return best
}
