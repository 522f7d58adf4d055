/** An exchange as a line for people: time, process, direction, peer, request, status, sizes, duration. */
import { Completeness, Direction, type HttpRequest, type Peer } from '../../../gen/cleartap/event/v1/event.js'
import type { EventRecord } from './sink.js'

const RESET = '\u001b[0m'
const DIM = '\u001b[2m'
const BOLD = '\u001b[1m'
const GREEN = '\u001b[32m'
const CYAN = '\u001b[36m'
const YELLOW = '\u001b[33m'
const RED = '\u001b[31m'
/** What a terminal could take for a command, and what turns the direction of text around. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Undefined for events that are not exchanges. No escape of the captured text reaches the terminal. */
export function formatText(record: EventRecord, colour: boolean): string | undefined {
  const { event, process } = record
  if (event.kind?.$case !== 'httpRequest') return undefined
  const http = event.kind.value
  const time = new Date(Number(event.timeUnixNano / 1_000_000n)).toISOString().slice(11, 23)
  const parts = [
    paint(time, DIM, colour),
    `${printable(process.comm)}(${process.pid})`,
    arrow(http.peer),
    address(http.peer),
    paint(printable(http.method), BOLD, colour),
    printable(url(http)),
    status(http, colour),
    `${bytes(http.requestBytes)}/${bytes(http.responseBytes)}`,
    duration(http.durationNano),
  ]
  return parts.join(' ')
}

function url(http: HttpRequest): string {
  return `${http.scheme}://${http.host}${http.path}${http.query === '' ? '' : `?${http.query}`}`
}

function status(http: HttpRequest, colour: boolean): string {
  const text = http.status === 0 ? '---' : String(http.status)
  const shown = paint(text, statusColour(http.status), colour)
  switch (http.completeness) {
    case Completeness.COMPLETENESS_GAP:
      return `${shown} gap(${bytes(http.bytesLost)})`
    case Completeness.COMPLETENESS_ABORTED:
      return `${shown} aborted`
    default:
      return shown
  }
}

function statusColour(code: number): string {
  if (code >= 500 || code === 0) return RED
  if (code >= 400) return YELLOW
  return code >= 300 ? CYAN : GREEN
}

function arrow(peer: Peer | undefined): string {
  switch (peer?.direction) {
    case Direction.DIRECTION_INGRESS:
      return '<-'
    case Direction.DIRECTION_EGRESS:
      return '->'
    default:
      return '--'
  }
}

function address(peer: Peer | undefined): string {
  if (peer === undefined || peer.remoteAddress.length === 0) return '?'
  const { remoteAddress, remotePort } = peer
  if (remoteAddress.length === 4) return `${remoteAddress.join('.')}:${remotePort}`
  const groups: string[] = []
  for (let at = 0; at + 1 < remoteAddress.length; at += 2) {
    groups.push(remoteAddress.readUInt16BE(at).toString(16))
  }
  return `[${groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::')}]:${remotePort}`
}

function bytes(count: bigint): string {
  const value = Number(count)
  if (value < 1024) return `${value}B`
  if (value < 1024 * 1024) return `${(value / 1024).toFixed(1)}KiB`
  return `${(value / 1024 / 1024).toFixed(1)}MiB`
}

function duration(nanoseconds: bigint): string {
  const ms = Number(nanoseconds) / 1e6
  return ms < 1000 ? `${ms.toFixed(1)}ms` : `${(ms / 1000).toFixed(2)}s`
}

function paint(text: string, code: string, colour: boolean): string {
  return colour ? `${code}${text}${RESET}` : text
}

function printable(text: string): string {
  return text.replace(CONTROL, '\ufffd')
}
