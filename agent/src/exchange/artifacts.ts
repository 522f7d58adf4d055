/** What of an exchange becomes objects, and under which keys. */
import { hash } from 'node:crypto'
import type { StoredObject } from '../stores/store.js'
import type { ArtifactKind } from './artifact.js'
import type { Body, Exchange, HttpMessage } from './exchange.js'
import { mediaTypeOf } from './media-type.js'

/** An object that is to be stored. */
export interface ArtifactContent {
  readonly kind: ArtifactKind
  readonly object: StoredObject
  readonly chunks: readonly Uint8Array[]
  readonly truncated: boolean
  readonly contentType: string
}

/**
 * One object with both heads; with bodies also the request's body unless it is empty, and the response's even
 * if it is, where it could have one. Bodies are as they were before content coding.
 */
export function artifactsOf(
  exchange: Exchange,
  level: 'headers' | 'full',
  org: string,
): readonly ArtifactContent[] {
  const prefix = keyPrefix(org, exchange.request.startNs)
  const contents = [headersOf(exchange, prefix)]
  if (level === 'headers') return contents
  const { request, response } = exchange
  if (request.body !== undefined && request.body.size > 0) {
    contents.push(bodyOf('http_request_body', request, request.body, prefix))
  }
  if (response?.body !== undefined) {
    contents.push(bodyOf('http_response_body', response, response.body, prefix))
  }
  return contents
}

function headersOf(exchange: Exchange, prefix: string): ArtifactContent {
  const { request, response } = exchange
  const heads = response === undefined ? { request: headOf(request) } : bothHeads(request, response)
  const chunks = [Buffer.from(JSON.stringify(heads))]
  const object = objectOf(chunks, prefix)
  return { kind: 'http_headers', object, chunks, truncated: false, contentType: 'application/json' }
}

function bothHeads(request: HttpMessage, response: HttpMessage) {
  return { request: headOf(request), response: headOf(response) }
}

function headOf({ startLine, headers }: HttpMessage) {
  return { line: startLine, headers }
}

function bodyOf(kind: ArtifactKind, message: HttpMessage, body: Body, prefix: string): ArtifactContent {
  const { chunks, truncated } = body
  const contentType = mediaTypeOf(message) || 'application/octet-stream'
  return { kind, object: objectOf(chunks, prefix), chunks, truncated, contentType }
}

function objectOf(chunks: readonly Uint8Array[], prefix: string): StoredObject {
  const [first] = chunks
  const bytes = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks)
  const sha256 = hash('sha256', bytes, 'buffer')
  return { key: `${prefix}${sha256.toString('hex')}`, sha256, size: bytes.length }
}

/** By the day on which the exchange began, UTC. */
function keyPrefix(org: string, startNs: bigint): string {
  const day = new Date(Number(startNs / 1_000_000n)).toISOString().slice(0, 10).replaceAll('-', '/')
  return `v1/${org}/${day}/`
}
