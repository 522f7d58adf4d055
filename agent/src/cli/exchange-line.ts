import { stripVTControlCharacters, styleText } from 'node:util'
import type { Body, HttpExchange } from '../exchange/exchange.js'
import { durationNs, urlOf } from './exchange-facts.js'
import { formatBytes, formatDurationNs } from './quantities.js'

const commWidth = 15

/** Titles over the columns of exchangeLine. */
export const columnTitles = columns(
  'TIME',
  'PID',
  'COMMAND',
  'METHOD',
  'STATUS',
  'TOOK',
  'SENT',
  'GOT',
  'URL',
)

/**
 * One exchange as one line for people, without the newline. Whatever was captured is made safe for terminals:
 * control characters come out as escapes.
 */
export function exchangeLine(exchange: HttpExchange, color: boolean): string {
  const { request, response, process } = exchange
  const duration = durationNs(exchange)
  const status = exchange.status === undefined ? '-' : String(exchange.status)
  const line = columns(
    new Date(Number(request.startNs / 1_000_000n)).toTimeString().slice(0, 8),
    String(process.pid),
    printable(process.comm),
    printable(exchange.method),
    color ? paintStatus(status.padEnd(6)) : status,
    duration === undefined ? '-' : formatDurationNs(duration),
    formatBytes(request.wireBytes),
    response === undefined ? '-' : formatBytes(response.wireBytes),
    printable(urlOf(exchange)),
  )
  return line + remark(exchange, color)
}

/** The kept bodies of both messages, indented, each line safe for terminals; none are left out silently. */
export function bodyLines(exchange: HttpExchange, maxBodyBytes: number): string[] {
  return [
    ...linesOf('>', exchange.request.body, maxBodyBytes),
    ...linesOf('<', exchange.response?.body, maxBodyBytes),
  ]
}

/** Text in which every control character is an escape, such as \x1b. */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

function columns(...cells: string[]): string {
  const [time = '', pid = '', comm = '', method = '', status = '', took = '', sent = '', got = '', url = ''] =
    cells
  return [
    time.padEnd(8),
    pid.padStart(7),
    comm.padEnd(commWidth),
    method.padEnd(7),
    status.padEnd(6),
    took.padStart(7),
    sent.padStart(7),
    got.padStart(7),
    url,
  ].join(' ')
}

function remark({ completeness, bytesLost }: HttpExchange, color: boolean): string {
  if (completeness === 'complete') return ''
  const text = completeness === 'gap' ? ` [${formatBytes(bytesLost)} lost]` : ' [aborted]'
  return color ? styleText('yellow', text, { validateStream: false }) : text
}

function paintStatus(status: string): string {
  const style = statusStyles[status.charAt(0)]
  return style === undefined ? status : styleText(style, status, { validateStream: false })
}

const statusStyles: Readonly<Record<string, 'green' | 'cyan' | 'yellow' | 'red'>> = {
  '2': 'green',
  '3': 'cyan',
  '4': 'yellow',
  '5': 'red',
}

function linesOf(mark: string, body: Body | undefined, maxBodyBytes: number): string[] {
  if (body === undefined || body.size === 0) return []
  const whole = Buffer.concat(body.chunks)
  const kept = whole.subarray(0, maxBodyBytes)
  const lines = kept
    .toString('utf8')
    .replace(/\n$/, '')
    .split(/\r?\n/)
    .map((line) => `  ${mark} ${printable(line)}`)
  if (kept.length < body.size) lines.push(`  ${mark} … ${formatBytes(body.size - kept.length)} more`)
  return lines
}
