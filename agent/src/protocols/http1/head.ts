/**
 * Heads of HTTP/1 messages: start line and fields (RFC 9112 sections 2 to 5), and what they say about the
 * body (section 6). Stricter than the RFC asks: what two recipients could read differently is refused.
 */

/** Fields in one head; more is refused. */
export const MAX_FIELDS = 256

export type Headers = readonly (readonly [name: string, value: string])[]

/** Why a head is refused. */
export type HeadProblem = 'bad_start_line' | 'bad_field' | 'too_many_fields' | 'framing_conflict'

export interface Head {
  /** As requestLineOf and statusLineOf have found it; a head is parsed once and seen often. */
  requestLine?: RequestLine | undefined
  statusLine?: StatusLine | undefined
  readonly startLine: string
  readonly headers: Headers
  /** Undefined if there is no such field. */
  readonly contentLength: number | undefined
  readonly transferEncoding: 'none' | 'chunked' | 'other'
}

export interface RequestLine {
  readonly method: string
  readonly target: string
  readonly minor: 0 | 1
}

export interface StatusLine {
  readonly status: number
  readonly minor: 0 | 1
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const CR = 0x0d
const LF = 0x0a
const DIGITS = /^[0-9]{1,15}$/
const REQUEST_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ([^\0-\x20\x7f]+) HTTP\/1\.([01])$/
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: [^\0\r\n]*)?$/

/** The head's start line as a request's; undefined if it is none. */
export function requestLineOf(head: Head): RequestLine | undefined {
  head.requestLine ??= parseRequestLine(head.startLine)
  return head.requestLine
}

/** The head's start line as a response's; undefined if it is none. */
export function statusLineOf(head: Head): StatusLine | undefined {
  head.statusLine ??= parseStatusLine(head.startLine)
  return head.statusLine
}

/** Parses a request line without its CRLF; undefined if it is none. */
export function parseRequestLine(line: string): RequestLine | undefined {
  const match = REQUEST_LINE.exec(line)
  if (match === null) return undefined
  return { method: match[1] ?? '', target: match[2] ?? '', minor: match[3] === '0' ? 0 : 1 }
}

/** Parses a status line without its CRLF; undefined if it is none. */
export function parseStatusLine(line: string): StatusLine | undefined {
  const match = STATUS_LINE.exec(line)
  if (match === null) return undefined
  return { status: Number(match[2]), minor: match[1] === '0' ? 0 : 1 }
}

/** Parses a head: latin1 text from the start line to the empty line, which it includes. */
export function parseHead(text: string): Head | HeadProblem {
  if (hasForbidden(text)) return 'bad_field'
  const lineEnd = text.indexOf('\r\n')
  const startLine = text.slice(0, lineEnd)
  const headers: (readonly [string, string])[] = []
  let contentLength: number | undefined
  let transferEncoding: Head['transferEncoding'] = 'none'
  const end = text.length - 2
  let at = lineEnd + 2
  while (at < end) {
    const next = text.indexOf('\r\n', at)
    const colon = text.indexOf(':', at)
    if (colon <= at || colon > next) return 'bad_field'
    const name = text.slice(at, colon)
    const value = trimmed(text, colon + 1, next)
    if (!TOKEN.test(name)) return 'bad_field'
    if (headers.push([name, value]) > MAX_FIELDS) return 'too_many_fields'
    at = next + 2
    if (name.length === 14 && name.toLowerCase() === 'content-length') {
      if (!DIGITS.test(value)) return 'framing_conflict'
      const length = Number(value)
      if (contentLength !== undefined && contentLength !== length) return 'framing_conflict'
      contentLength = length
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      if (transferEncoding !== 'none') return 'framing_conflict'
      const coding = transferCoding(value)
      if (coding === undefined) return 'framing_conflict'
      transferEncoding = coding
    }
  }
  if (contentLength !== undefined && transferEncoding !== 'none') return 'framing_conflict'
  return {
    requestLine: undefined,
    statusLine: undefined,
    startLine,
    headers,
    contentLength,
    transferEncoding,
  }
}

/** NUL, or CR and LF apart: recipients differ in what they make of them. */
function hasForbidden(text: string): boolean {
  if (text.includes('\0')) return true
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) {
    if (text.charCodeAt(at - 1) !== CR) return true
  }
  for (let at = text.indexOf('\r'); at !== -1; at = text.indexOf('\r', at + 1)) {
    if (text.charCodeAt(at + 1) !== LF) return true
  }
  return false
}

/** `chunked` if that is the last coding and stands once; undefined if the value is a trap. */
function transferCoding(value: string): 'chunked' | 'other' | undefined {
  const codings = value.toLowerCase().split(',')
  const last = codings.pop()?.trim()
  for (const coding of codings) {
    const name = coding.trim()
    if (!TOKEN.test(name) || name.includes('chunked')) return undefined
  }
  if (last === 'chunked') return 'chunked'
  return last === undefined || !TOKEN.test(last) || last.includes('chunked') ? undefined : 'other'
}

/** The text between two places without the spaces and tabs around it. */
function trimmed(text: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** Index behind the empty line that ends a head, or -1. Looks at bytes from `from` to `length`. */
export function findHeadEnd(bytes: Uint8Array, from: number, length: number): number {
  let at = from + 3
  while (at < length) {
    const byte = bytes[at] ?? 0
    if (byte > 0x0d) at += 4
    else if (byte === 0x0a) {
      if (bytes[at - 1] === 0x0d && bytes[at - 2] === 0x0a && bytes[at - 3] === 0x0d) return at + 1
      at += 2
    } else at += 1
  }
  return -1
}
