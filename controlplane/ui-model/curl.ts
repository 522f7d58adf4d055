/** A captured request as a curl command that a POSIX shell reads back exactly. */
import type { MessageHead } from './http-headers.js'

/** What to send along: text, nothing, or a file that the reader has to save first. */
export type CurlBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'file'; readonly name: string }

/** Headers that curl makes itself, or that belong to one hop. */
const OWN_HEADERS = new Set(['host', 'content-length', 'transfer-encoding', 'connection', 'expect'])

/** The command, a line an argument. origin is scheme and host, such as "https://api.example.com". */
export function curlCommand(origin: string, head: MessageHead, body: CurlBody): string {
  const [method = 'GET', target = '/'] = head.line.split(' ')
  const url = target.startsWith('/') ? origin + target : target
  const args = [`curl ${shellQuote(url)}`]
  if (method === 'HEAD') args.push('--head')
  else if (method !== (body.kind === 'none' ? 'GET' : 'POST')) args.push(`--request ${shellQuote(method)}`)
  args.push('--path-as-is --globoff')
  for (const [name, value] of head.headers) {
    if (isLeftOut(name.toLowerCase(), body)) continue
    args.push(`--header ${shellQuote(value === '' ? `${name};` : `${name}: ${value}`)}`)
  }
  if (body.kind === 'text') args.push(`--data-raw ${shellQuote(body.text)}`)
  if (body.kind === 'file') args.push(`--data-binary ${shellQuote(`@${body.name}`)}`)
  return args.join(' \\\n  ')
}

/** A saved body is already unpacked, so that its coding no longer holds. */
function isLeftOut(name: string, body: CurlBody): boolean {
  return OWN_HEADERS.has(name) || (body.kind === 'file' && name === 'content-encoding')
}

/** One word of a POSIX shell. Control characters other than newline and tab become "?": a terminal would obey them. */
export function shellQuote(text: string): string {
  const visible = Array.from(text, (char) => (isControl(char) ? '?' : char)).join('')
  if (/^[\w@%+=:,./-]+$/.test(visible)) return visible
  return `'${visible.replaceAll("'", `'\\''`)}'`
}

function isControl(char: string): boolean {
  const code = char.codePointAt(0) ?? 0
  return (code < 0x20 && char !== '\n' && char !== '\t') || (code >= 0x7f && code < 0xa0)
}
