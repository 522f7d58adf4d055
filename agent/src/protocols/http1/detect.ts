/** Finds the beginning of an HTTP/1 request by its first bytes. */
import type { Detection } from '../protocol.js'

/** Longest method that is believed before the version has been seen. */
const MAX_METHOD_BYTES = 24

const KNOWN_METHODS = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'OPTIONS',
  'PATCH',
  'TRACE',
  'CONNECT',
  'PROPFIND',
  'REPORT',
  'SEARCH',
  'PURGE',
])

const VERSION = ' HTTP/1.'

/**
 * `match` if bytes begin a request: a method and a target, and the version too where the line's end is in
 * sight. A method that is not a common one needs the whole line, or a path as far as the bytes go. `more` if
 * too few bytes are there to tell.
 */
export function detectRequest(bytes: Uint8Array): Detection {
  const methodEnd = endOfMethod(bytes)
  if (methodEnd === undefined) return 'no'
  if (methodEnd >= bytes.length) return 'more'
  const target = bytes[methodEnd + 1]
  if (target === undefined) return 'more'
  if (target <= 0x20 || target === 0x7f) return 'no'
  const lineEnd = bytes.indexOf(0x0a, methodEnd)
  if (lineEnd === -1)
    return KNOWN_METHODS.has(text(bytes, 0, methodEnd)) || isPath(bytes, methodEnd + 1) ? 'match' : 'no'
  const version = text(bytes, Math.max(methodEnd, lineEnd - 10), lineEnd)
  return version.startsWith(VERSION) && version.endsWith('\r') && /[01]/.test(version.charAt(8))
    ? 'match'
    : 'no'
}

/** Index of the space behind the method; the length if none is in sight yet; undefined if there is no method. */
function endOfMethod(bytes: Uint8Array): number | undefined {
  const limit = Math.min(bytes.length, MAX_METHOD_BYTES + 1)
  for (let at = 0; at < limit; at++) {
    const byte = bytes[at] ?? 0
    if (byte === 0x20) return at > 0 ? at : undefined
    const isMethodByte = (byte >= 0x41 && byte <= 0x5a) || byte === 0x2d || byte === 0x5f
    if (!isMethodByte) return undefined
  }
  return bytes.length <= MAX_METHOD_BYTES ? bytes.length : undefined
}

function isPath(bytes: Uint8Array, from: number): boolean {
  return bytes[from] === 0x2f && bytes.subarray(from).every((byte) => byte > 0x20 && byte !== 0x7f)
}

function text(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1')
}
