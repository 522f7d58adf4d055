/** Numbers with units as people type and read them. */

const durationUnitsMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const
const byteUnits = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 } as const
const maxDurationMs = 2 ** 31 - 1

/** Milliseconds of "30s", "250ms", "5m", "1h" or plain seconds; undefined for anything else. At most 24 days. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text)
  if (match === null) return undefined
  const unit = (match[2] ?? 's') as keyof typeof durationUnitsMs
  const ms = Math.round(Number(match[1]) * durationUnitsMs[unit])
  return ms > 0 && ms <= maxDurationMs ? ms : undefined
}

/** Bytes of "4096", "64k", "8M", "1GiB" (powers of 1024); undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+)([kmg]?)(?:i?b)?$/.exec(text.toLowerCase())
  if (match === null) return undefined
  const bytes = Number(match[1]) * byteUnits[match[2] as keyof typeof byteUnits]
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** Such as "812B", "4.2KiB", "17MiB". */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const
  let value = bytes
  let unit: string = units[0]
  for (const next of units.slice(1)) {
    if (value < 1000) break
    value /= 1024
    unit = next
  }
  return unit === 'B' || value >= 10 ? `${Math.round(value)}${unit}` : `${value.toFixed(1)}${unit}`
}

/** Such as "0.4ms", "18ms", "2.5s". */
export function formatDurationNs(ns: bigint): string {
  const ms = Number(ns) / 1e6
  if (ms < 0.95) return `${Math.round(ms * 1000)}µs`
  if (ms < 10) return `${ms.toFixed(1)}ms`
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(1)}s`
}
