/** What a body is, judged by its bytes first and its declared type second. Nothing here is ever markup. */

export type BodyKind = 'empty' | 'json' | 'text' | 'image' | 'binary'

/** Raster formats by their first bytes. SVG is text here, as it could carry scripts. */
const IMAGE_SIGNATURES: readonly (readonly [type: string, prefix: readonly number[], at: number])[] = [
  ['image/png', [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], 0],
  ['image/jpeg', [0xff, 0xd8, 0xff], 0],
  ['image/gif', [0x47, 0x49, 0x46, 0x38], 0],
  ['image/webp', [0x57, 0x45, 0x42, 0x50], 8],
]

/** The image type that the bytes themselves say; undefined for anything else. */
export function sniffImageType(bytes: Uint8Array): string | undefined {
  return IMAGE_SIGNATURES.find(([, prefix, at]) => prefix.every((byte, i) => bytes[at + i] === byte))?.[0]
}

export function detectBodyKind(bytes: Uint8Array, contentType: string): BodyKind {
  if (bytes.length === 0) return 'empty'
  if (sniffImageType(bytes) !== undefined) return 'image'
  if (!looksLikeText(bytes)) return 'binary'
  const first = firstVisible(bytes)
  const jsonType = /[/+]json\b/i.test(contentType)
  return jsonType || first === 0x7b || first === 0x5b ? 'json' : 'text'
}

const SAMPLE_BYTES = 4096

/** Text has no NUL, and few control characters, in its first bytes. */
function looksLikeText(bytes: Uint8Array): boolean {
  const sample = bytes.subarray(0, SAMPLE_BYTES)
  if (sample.includes(0)) return false
  const odd = sample.reduce((count, byte) => count + (isOddControl(byte) ? 1 : 0), 0)
  return odd * 20 <= sample.length && isUtf8Like(sample)
}

function isOddControl(byte: number): boolean {
  return (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) || byte === 0x7f
}

/** UTF-8, or so little that is not that it is an older single-byte encoding. */
function isUtf8Like(sample: Uint8Array): boolean {
  const wrong = decodeText(sample).split('\ufffd').length - 1
  return wrong * 10 <= sample.length
}

function firstVisible(bytes: Uint8Array): number | undefined {
  return bytes.subarray(0, SAMPLE_BYTES).find((byte) => byte > 0x20)
}

/** UTF-8 text; bytes that are not become U+FFFD. */
export function decodeText(bytes: Uint8Array): string {
  return new TextDecoder('utf-8').decode(bytes)
}

/** JSON laid out with two blanks; undefined if the text is not JSON, as when it was cut. Numbers keep their digits. */
export function prettyJson(text: string): string | undefined {
  try {
    JSON.parse(text)
  } catch {
    return undefined
  }
  return layOutJson(text)
}

const JSON_TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g

/** Lays out valid JSON token by token: parsing and printing would round long numbers. */
function layOutJson(text: string): string {
  const tokens = text.match(JSON_TOKEN) ?? []
  const parts: string[] = []
  let depth = 0
  const newline = () => `\n${'  '.repeat(depth)}`
  for (const [i, token] of tokens.entries()) {
    const next = tokens[i + 1]
    if (token === '{' || token === '[') {
      depth += 1
      parts.push(token, next === '}' || next === ']' ? '' : newline())
    } else if (token === '}' || token === ']') {
      depth -= 1
      const previous = tokens[i - 1]
      parts.push(previous === '{' || previous === '[' ? '' : newline(), token)
    } else if (token === ',') parts.push(token, newline())
    else if (token === ':') parts.push(': ')
    else parts.push(token)
  }
  return parts.join('')
}

/** The content coding that the browser can undo; undefined if there is none; an error text otherwise. */
export type ContentCoding =
  | { readonly kind: 'none' }
  | { readonly kind: 'known'; readonly format: 'gzip' | 'deflate' }
  | { readonly kind: 'unknown'; readonly name: string }

/** Reads a Content-Encoding value (RFC 9110, section 8.4). */
export function contentCoding(header: string | undefined): ContentCoding {
  const name = (header ?? '').trim().toLowerCase()
  if (name === '' || name === 'identity') return { kind: 'none' }
  if (name === 'gzip' || name === 'x-gzip') return { kind: 'known', format: 'gzip' }
  if (name === 'deflate') return { kind: 'known', format: 'deflate' }
  return { kind: 'unknown', name }
}
