/** Table requests: HTTP exchanges. */
import type { ArtifactRef, HttpRequest } from '../../../gen/cleartap/event/v1/event.js'
import type { Request } from '../../../gen/cleartap/pulse/v1/query.js'
import { type Column, LONG_TEXT, NAME_TEXT, SHORT_TEXT, UUID } from './columns.js'
import { ARTIFACT, EVENT, KIND } from './event-slots.js'
import { PROCESS_PIECE, processFromRow, processSelect } from './processes.js'
import { addressFromText, bytesFromHex, timestampFromMicros, uuidText } from './values.js'

const u64 = { kind: 'u64' } as const

/** In the order of the row. */
export const requestColumns: readonly Column[] = [
  { name: 'org', given: 'org' },
  { name: 'ts', slot: EVENT.time_unix_nano, encoding: { kind: 'time' } },
  { name: 'ingested_at', given: 'ingested_at' },
  { name: 'event_id', slot: EVENT.event_id, encoding: UUID },
  { name: 'connection_id', slot: KIND.connection_id, encoding: UUID },
  { name: PROCESS_PIECE.join(', '), given: 'process' },
  { name: 'confidence', slot: KIND.confidence, encoding: { kind: 'enum', last: 3 } },
  { name: 'direction', slot: KIND.direction, encoding: { kind: 'enum', last: 2 } },
  { name: 'local_address', slot: KIND.local_address, encoding: { kind: 'address' } },
  { name: 'local_port', slot: KIND.local_port, encoding: { kind: 'u16' } },
  { name: 'remote_address', slot: KIND.remote_address, encoding: { kind: 'address' } },
  { name: 'remote_port', slot: KIND.remote_port, encoding: { kind: 'u16' } },
  { name: 'protocol', slot: KIND.protocol, encoding: SHORT_TEXT },
  { name: 'tls_library', slot: KIND.tls_library, encoding: SHORT_TEXT },
  { name: 'method', slot: KIND.method, encoding: SHORT_TEXT },
  { name: 'scheme', slot: KIND.scheme, encoding: SHORT_TEXT },
  { name: 'host', slot: KIND.host, encoding: NAME_TEXT },
  { name: 'path', slot: KIND.path, encoding: LONG_TEXT },
  { name: 'query', slot: KIND.query, encoding: LONG_TEXT },
  { name: 'status', slot: KIND.status, encoding: { kind: 'u16' } },
  { name: 'first_byte_ns', slot: KIND.first_byte_nano, encoding: u64 },
  { name: 'duration_ns', slot: KIND.duration_nano, encoding: u64 },
  { name: 'request_bytes', slot: KIND.request_bytes, encoding: u64 },
  { name: 'response_bytes', slot: KIND.response_bytes, encoding: u64 },
  { name: 'request_body_bytes', slot: KIND.request_body_bytes, encoding: u64 },
  { name: 'response_body_bytes', slot: KIND.response_body_bytes, encoding: u64 },
  { name: 'request_content_type', slot: KIND.request_content_type, encoding: NAME_TEXT },
  { name: 'response_content_type', slot: KIND.response_content_type, encoding: NAME_TEXT },
  { name: 'user_agent', slot: KIND.user_agent, encoding: LONG_TEXT },
  { name: 'completeness', slot: KIND.completeness, encoding: { kind: 'enum', last: 3 } },
  { name: 'bytes_lost', slot: KIND.bytes_lost, encoding: u64 },
  { name: 'trace_id', slot: KIND.trace_id, encoding: { kind: 'fixed', size: 16, optional: true } },
  { name: 'span_id', slot: KIND.span_id, encoding: { kind: 'fixed', size: 8, optional: true } },
  { name: 'index_in_connection', slot: KIND.index_in_connection, encoding: { kind: 'u32' } },
  { name: 'artifacts', given: 'artifacts' },
  { name: 'stream_id', given: 'stream_id' },
  { name: 'seq', given: 'seq' },
  { name: 'batch_index', given: 'batch_index' },
]

/** Most artifacts of one exchange. */
export const MAX_ARTIFACTS = 16

/** Columns of a tuple in `artifacts`, in order. */
export const artifactColumns: readonly Column[] = [
  { name: 'artifacts.kind', slot: ARTIFACT.kind, encoding: { kind: 'u8' } },
  { name: 'artifacts.sha256', slot: ARTIFACT.sha256, encoding: { kind: 'fixed', size: 32, optional: false } },
  { name: 'artifacts.size', slot: ARTIFACT.size, encoding: u64 },
  { name: 'artifacts.truncated', slot: ARTIFACT.truncated, encoding: { kind: 'bool' } },
  { name: 'artifacts.content_type', slot: ARTIFACT.content_type, encoding: NAME_TEXT },
  { name: 'artifacts.store', slot: ARTIFACT.store, encoding: SHORT_TEXT },
  { name: 'artifacts.key', slot: ARTIFACT.key, encoding: NAME_TEXT },
]

/** A stored exchange and its place in the order of storing. */
export interface StoredRequest {
  readonly request: Request
  readonly position: Position
}

/** Where a row stands in the order in which rows were stored. */
export interface Position {
  readonly ingestedAtMicros: bigint
  /** 32 hex digits. */
  readonly streamId: string
  readonly sequence: bigint
  readonly batchIndex: number
}

/** What reading back selects, in the order that requestFromRow takes. */
export const requestSelect: readonly string[] = [
  'toString(toUnixTimestamp64Nano(ts))',
  'toString(toUnixTimestamp64Micro(ingested_at))',
  'lower(hex(event_id))',
  'lower(hex(connection_id))',
  'lower(hex(agent_id))',
  'agent_host',
  'toInt8(confidence)',
  'toInt8(direction)',
  'toString(local_address)',
  'local_port',
  'toString(remote_address)',
  'remote_port',
  'protocol',
  'tls_library',
  'method',
  'scheme',
  'host',
  'path',
  'query',
  'status',
  'first_byte_ns',
  'duration_ns',
  'request_bytes',
  'response_bytes',
  'request_body_bytes',
  'response_body_bytes',
  'request_content_type',
  'response_content_type',
  'user_agent',
  'toInt8(completeness)',
  'bytes_lost',
  'lower(hex(trace_id))',
  'lower(hex(span_id))',
  'index_in_connection',
  'arrayMap(a -> (a.1, lower(hex(a.2)), toString(a.3), a.4, a.5, a.6, a.7), artifacts)',
  'lower(hex(stream_id))',
  'toString(seq)',
  'batch_index',
  ...processSelect,
]

/** A stored exchange from the values of requestSelect. */
export function requestFromRow(row: readonly unknown[]): StoredRequest {
  const text = (i: number) => String(row[i])
  const big = (i: number) => BigInt(text(i))
  const request: Request = {
    event: {
      eventId: bytesFromHex(text(2)),
      timeUnixNano: big(0),
      process: 0,
      kind: { $case: 'httpRequest', value: exchangeFromRow(row, text, big) },
    },
    process: processFromRow(row.slice(38)),
    agentId: uuidText(text(4)),
    host: text(5),
    ingestedAt: timestampFromMicros(big(1)),
  }
  return {
    request,
    position: {
      ingestedAtMicros: big(1),
      streamId: text(35),
      sequence: big(36),
      batchIndex: Number(row[37]),
    },
  }
}

function exchangeFromRow(
  row: readonly unknown[],
  text: (i: number) => string,
  big: (i: number) => bigint,
): HttpRequest {
  return {
    connectionId: bytesFromHex(text(3)),
    peer: {
      confidence: Number(row[6]) as 0 | 1 | 2 | 3,
      direction: Number(row[7]) as 0 | 1 | 2,
      localAddress: addressFromText(text(8)),
      localPort: Number(row[9]),
      remoteAddress: addressFromText(text(10)),
      remotePort: Number(row[11]),
    },
    protocol: text(12),
    tlsLibrary: text(13),
    method: text(14),
    scheme: text(15),
    host: text(16),
    path: text(17),
    query: text(18),
    status: Number(row[19]),
    firstByteNano: big(20),
    durationNano: big(21),
    requestBytes: big(22),
    responseBytes: big(23),
    requestBodyBytes: big(24),
    responseBodyBytes: big(25),
    requestContentType: text(26),
    responseContentType: text(27),
    userAgent: text(28),
    completeness: Number(row[29]) as 0 | 1 | 2 | 3,
    bytesLost: big(30),
    traceId: optionalBytes(text(31)),
    spanId: optionalBytes(text(32)),
    indexInConnection: Number(row[33]),
    artifacts: (row[34] as readonly (readonly unknown[])[]).map(artifactFromRow),
  }
}

function artifactFromRow(row: readonly unknown[]): ArtifactRef {
  return {
    kind: Number(row[0]) as 0 | 1 | 2 | 3,
    sha256: bytesFromHex(String(row[1])),
    size: BigInt(String(row[2])),
    truncated: Boolean(row[3]),
    contentType: String(row[4]),
    store: String(row[5]),
    key: String(row[6]),
  }
}

/** Zeros mean that there is none. */
function optionalBytes(hex: string): Buffer {
  return /^0*$/.test(hex) ? Buffer.alloc(0) : bytesFromHex(hex)
}
