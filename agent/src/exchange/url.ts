/** What an event may say of a request's URL: host without user-info, path, query keys without values. */
import type { HttpExchange } from './exchange.js'

const MAX_PATH_CHARS = 8192
const MAX_QUERY_KEYS = 100
/** A longer key, or a longer word without "=", is taken for a value that stands in the wrong place. */
const MAX_KEY_CHARS = 64

const HOST = /^[a-z0-9._~%\-:[\]]{1,261}$/
const ABSOLUTE_FORM = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i

export interface EventUrl {
  /** Lower case, with the port if one was given; empty if none was sent or it is not one. */
  readonly host: string
  readonly path: string
  /** Such as "a=&b=". */
  readonly query: string
}

/** Takes a request's target (RFC 9112 section 3.2, all four forms) and its Host field apart. */
export function eventUrl(exchange: HttpExchange): EventUrl {
  const { target } = exchange
  if (exchange.method === 'CONNECT') return { host: cleanHost(target), path: '', query: '' }
  const absolute = target.startsWith('/') ? null : ABSOLUTE_FORM.exec(target)
  const authority = absolute === null ? headerOf(exchange.request.headers, 'host') : absolute[1]
  const rest = absolute === null ? target : target.slice(absolute[0].length)
  const fragmentAt = rest.indexOf('#')
  const visible = fragmentAt === -1 ? rest : rest.slice(0, fragmentAt)
  const queryAt = visible.indexOf('?')
  const path = queryAt === -1 ? visible : visible.slice(0, queryAt)
  return {
    host: authority === undefined ? '' : cleanHost(authority),
    path: path.length === 0 ? '/' : path.slice(0, MAX_PATH_CHARS),
    query: queryAt === -1 ? '' : keysOnly(visible.slice(queryAt + 1)),
  }
}

/** The first value of a field by its lower-case name; undefined if there is none. */
export function headerOf(
  headers: readonly (readonly [name: string, value: string])[],
  name: string,
): string | undefined {
  for (const header of headers) {
    if (header[0].length === name.length && header[0].toLowerCase() === name) return header[1]
  }
  return undefined
}

function cleanHost(authority: string): string {
  const host = authority.slice(authority.lastIndexOf('@') + 1).toLowerCase()
  return HOST.test(host) ? host : ''
}

function keysOnly(query: string): string {
  const keys: string[] = []
  for (const pair of query.split('&', MAX_QUERY_KEYS)) {
    const equalsAt = pair.indexOf('=')
    const key = equalsAt === -1 ? pair : pair.slice(0, equalsAt)
    const shown = key.length > MAX_KEY_CHARS ? '' : key
    keys.push(equalsAt === -1 ? shown : `${shown}=`)
  }
  return keys.join('&')
}
