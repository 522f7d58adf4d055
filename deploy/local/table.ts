/** Captured requests as lines of a table. */
import { basename } from 'node:path'
import type { Captured } from './captured.js'

/** Captured text may hold anything; a terminal must not obey it. */
const printable = (text: string): string => text.replace(/[^\x20-\x7e\u00a0-\uffff]/g, '?')

const column = (text: string, width: number): string => {
  const safe = printable(text)
  return safe.length > width ? `${safe.slice(0, width - 1)}…` : safe.padEnd(width)
}

const formatBytes = (bytes: number): string => {
  if (bytes < 1024) return `${bytes} B`
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(bytes % 1024 === 0 ? 0 : 1)} KiB`
  return `${(bytes / 1024 / 1024).toFixed(bytes % (1024 * 1024) === 0 ? 0 : 1)} MiB`
}

export const tableHead = [
  'TIME'.padEnd(12),
  'SIDE'.padEnd(6),
  'PROCESS'.padEnd(18),
  'METHOD'.padEnd(6),
  'ADDRESS'.padEnd(46),
  'STATUS',
  'REQUEST'.padStart(9),
  'RESPONSE'.padStart(9),
  'TIME TAKEN'.padStart(10),
].join('  ')

export const tableLine = (captured: Captured): string =>
  [
    captured.time.slice(11, 23),
    captured.side.padEnd(6),
    column(`${basename(captured.exe) || captured.comm} ${captured.pid}`, 18),
    column(captured.method, 6),
    column(`${captured.host}${captured.path}${captured.query === '' ? '' : `?${captured.query}`}`, 46),
    String(captured.status).padEnd(6),
    formatBytes(captured.requestBodyBytes).padStart(9),
    formatBytes(captured.responseBodyBytes).padStart(9),
    `${captured.durationMs.toFixed(1)} ms`.padStart(10),
  ].join('  ')
