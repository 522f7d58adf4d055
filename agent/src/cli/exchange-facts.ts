/** What both output formats say of an exchange, taken from it once. */
import { isIPv6 } from 'node:net'
import type { HttpExchange } from '../exchange/exchange.js'
import { headerOf } from '../exchange/url.js'

/** Absolute URL of the request as far as it is known: the Host header, else the address, else "?". */
export function urlOf(exchange: HttpExchange): string {
  if (/^https?:\/\//i.test(exchange.target) || exchange.method === 'CONNECT') return exchange.target
  const host = headerOf(exchange.request.headers, 'host') ?? serverAddress(exchange) ?? '?'
  return `https://${host}${exchange.target}`
}

/** First byte of the request to last byte of the response; undefined without a response. */
export function durationNs({ request, response }: HttpExchange): bigint | undefined {
  return response === undefined ? undefined : response.endNs - request.startNs
}

/** ADDRESS:PORT with brackets around IPv6; undefined if the address is unknown. */
export function formatEnd(address: Uint8Array, port: number): string | undefined {
  const text = formatIp(address)
  if (text === undefined) return undefined
  return isIPv6(text) ? `[${text}]:${port}` : `${text}:${port}`
}

function serverAddress({ peer }: HttpExchange): string | undefined {
  return peer.role === 'server'
    ? formatEnd(peer.localAddress, peer.localPort)
    : formatEnd(peer.remoteAddress, peer.remotePort)
}

function formatIp(address: Uint8Array): string | undefined {
  if (address.length === 4) return address.join('.')
  if (address.length !== 16) return undefined
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((address[index * 2] ?? 0) << 8) | (address[index * 2 + 1] ?? 0)).toString(16),
  )
  return compressZeros(groups)
}

/** RFC 5952 §4.2: the first longest run of two or more zero groups becomes "::". */
function compressZeros(groups: readonly string[]): string {
  let best = { start: 0, length: 0 }
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0
    while (groups[start + length] === '0') length += 1
    if (length > best.length) best = { start, length }
  }
  if (best.length < 2) return groups.join(':')
  const head = groups.slice(0, best.start).join(':')
  const tail = groups.slice(best.start + best.length).join(':')
  return `${head}::${tail}`
}
