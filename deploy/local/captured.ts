/** A stored request in plain values, for tables and JSON lines, and its comparison with what was really sent. */
import type { ArtifactRef, HttpRequest } from '../../gen/cleartap/event/v1/event.js'
import { ArtifactKind, Completeness, Direction, PeerConfidence } from '../../gen/cleartap/event/v1/event.js'
import type { Request } from '../../gen/cleartap/pulse/v1/query.js'
import type { Queries } from './queries.js'
import type { SentRequest } from './traffic.js'

export type Side = 'client' | 'server' | 'unknown'

/** The fields of a line of npm run demo -- --once --json; documented in docs/demo.md. */
export interface Captured {
  readonly side: Side
  /** Hexadecimal, 32 digits each. */
  readonly eventId: string
  readonly connectionId: string
  /** Counts up from 0 within the connection. */
  readonly indexInConnection: number
  readonly time: string
  readonly pid: number
  readonly parentPid: number
  readonly exe: string
  readonly comm: string
  /** HOST:PORT, empty if unknown. */
  readonly local: string
  readonly remote: string
  readonly confidence: 'exact' | 'inferred' | 'unknown'
  readonly protocol: string
  readonly tlsLibrary: string
  readonly method: string
  readonly scheme: string
  readonly host: string
  readonly path: string
  readonly query: string
  readonly status: number
  readonly durationMs: number
  readonly firstByteMs: number
  readonly requestBodyBytes: number
  readonly responseBodyBytes: number
  readonly completeness: 'complete' | 'gap' | 'aborted' | 'unknown'
  readonly bytesLost: number
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

const sides: Readonly<Record<number, Side>> = {
  [Direction.DIRECTION_EGRESS]: 'client',
  [Direction.DIRECTION_INGRESS]: 'server',
}

const confidences: Readonly<Record<number, Captured['confidence']>> = {
  [PeerConfidence.PEER_CONFIDENCE_EXACT]: 'exact',
  [PeerConfidence.PEER_CONFIDENCE_INFERRED]: 'inferred',
}

const completenesses: Readonly<Record<number, Captured['completeness']>> = {
  [Completeness.COMPLETENESS_COMPLETE]: 'complete',
  [Completeness.COMPLETENESS_GAP]: 'gap',
  [Completeness.COMPLETENESS_ABORTED]: 'aborted',
}

const formatEnd = (address: Uint8Array | undefined, port: number | undefined): string => {
  if (address === undefined || port === undefined) return ''
  if (address.length === 4) return `${[...address].join('.')}:${port}`
  if (address.length !== 16) return ''
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((address[2 * index] ?? 0) << 8) | (address[2 * index + 1] ?? 0)).toString(16),
  )
  return `[${groups.join(':')}]:${port}`
}

const toIsoTime = (unixNano: bigint): string => new Date(Number(unixNano / 1_000_000n)).toISOString()

const toMs = (nanos: bigint): number => Number(nanos) / 1e6

/** The HTTP exchange of a stored request; undefined for other kinds of event. */
export const httpOf = ({ event }: Request): HttpRequest | undefined =>
  event?.kind?.$case === 'httpRequest' ? event.kind.value : undefined

/** Plain values of a stored HTTP request; undefined for other kinds of event. */
export const toCaptured = (request: Request): Captured | undefined => {
  const http = httpOf(request)
  const { event, process } = request
  if (http === undefined || event === undefined) return undefined
  const { peer } = http
  return {
    side: sides[peer?.direction ?? 0] ?? 'unknown',
    eventId: hex(event.eventId),
    connectionId: hex(http.connectionId),
    indexInConnection: http.indexInConnection,
    time: toIsoTime(event.timeUnixNano),
    pid: process?.pid ?? 0,
    parentPid: process?.parentPid ?? 0,
    exe: process?.exe ?? '',
    comm: process?.comm ?? '',
    local: formatEnd(peer?.localAddress, peer?.localPort),
    remote: formatEnd(peer?.remoteAddress, peer?.remotePort),
    confidence: confidences[peer?.confidence ?? 0] ?? 'unknown',
    protocol: http.protocol,
    tlsLibrary: http.tlsLibrary,
    method: http.method,
    scheme: http.scheme,
    host: http.host,
    path: http.path,
    query: http.query,
    status: http.status,
    durationMs: toMs(http.durationNano),
    firstByteMs: toMs(http.firstByteNano),
    requestBodyBytes: Number(http.requestBodyBytes),
    responseBodyBytes: Number(http.responseBodyBytes),
    completeness: completenesses[http.completeness] ?? 'unknown',
    bytesLost: Number(http.bytesLost),
  }
}

const artifactOf = (http: HttpRequest, kind: number): ArtifactRef | undefined =>
  http.artifacts.find((artifact) => artifact.kind === kind)

/** Fetches a body from the bucket and compares it; returns what is wrong with it. */
const checkBody = async (
  queries: Queries,
  name: string,
  artifact: ArtifactRef | undefined,
  expected: Uint8Array,
): Promise<string | undefined> => {
  if (artifact === undefined) {
    return expected.length === 0 ? undefined : `${name}: no object of its ${expected.length} bytes`
  }
  try {
    const bytes = await queries.fetchObject(artifact)
    return Buffer.from(bytes).equals(expected) ? undefined : `${name}: the object holds other bytes`
  } catch (error) {
    return `${name}: ${error instanceof Error ? error.message : String(error)}`
  }
}

const checkHeaders = async (queries: Queries, http: HttpRequest): Promise<string | undefined> => {
  const artifact = artifactOf(http, ArtifactKind.ARTIFACT_KIND_HTTP_HEADERS)
  if (artifact === undefined) return 'headers: no object'
  try {
    const text = new TextDecoder().decode(await queries.fetchObject(artifact))
    return text.includes(`${http.method} ${http.path} HTTP/1.1`)
      ? undefined
      : 'headers: the object lacks the request line'
  } catch (error) {
    return `headers: ${error instanceof Error ? error.message : String(error)}`
  }
}

/** What a stored request lacks, compared with what was sent; empty if it was seen whole. */
export const findProblems = async (
  queries: Queries,
  request: Request,
  captured: Captured,
  sent: SentRequest,
): Promise<readonly string[]> => {
  const http = httpOf(request)
  if (http === undefined) return ['not an HTTP request']
  const expectations: readonly (readonly [string, unknown, unknown])[] = [
    ['method', captured.method, sent.method],
    ['path', captured.path, sent.path],
    ['status', captured.status, 200],
    ['completeness', captured.completeness, 'complete'],
    ['request body bytes', captured.requestBodyBytes, sent.requestBody.length],
    ['response body bytes', captured.responseBodyBytes, sent.responseBody.length],
  ]
  const differences = expectations
    .filter(([, got, wanted]) => got !== wanted)
    .map(([name, got, wanted]) => `${name}: ${got}, expected ${wanted}`)
  const bodies = await Promise.all([
    checkHeaders(queries, http),
    checkBody(
      queries,
      'request body',
      artifactOf(http, ArtifactKind.ARTIFACT_KIND_HTTP_REQUEST_BODY),
      sent.requestBody,
    ),
    checkBody(
      queries,
      'response body',
      artifactOf(http, ArtifactKind.ARTIFACT_KIND_HTTP_RESPONSE_BODY),
      sent.responseBody,
    ),
  ])
  return [...differences, ...bodies.filter((problem) => problem !== undefined)]
}
