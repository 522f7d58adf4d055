/** The field dictionary of requests: what a filter may name, where it stands in the table and in a message. */
import type { HttpRequest, Peer, Process } from '../../gen/cleartap/event/v1/event.js'
import type { Request } from '../../gen/cleartap/pulse/v1/query.js'

/** How a field is read from a message. */
export type Field =
  | { readonly kind: 'text'; readonly sql: string; readonly read: (request: View) => string }
  | { readonly kind: 'integer'; readonly sql: string; readonly read: (request: View) => bigint | number }
  /** 4 or 16 bytes, or none. */
  | { readonly kind: 'address'; readonly sql: string; readonly read: (request: View) => Uint8Array }
  /** Bytes of a fixed size, as hex or UUID text in filters; none are zeros. */
  | {
      readonly kind: 'id'
      readonly size: number
      readonly sql: string
      readonly read: (request: View) => Uint8Array
    }
  /** A number with names; the names are in the order of the numbers. */
  | {
      readonly kind: 'enum'
      readonly names: readonly string[]
      readonly sql: string
      readonly read: (request: View) => number
    }

/** A Request with its optional parts filled in. */
export interface View {
  readonly eventId: Uint8Array
  readonly agentId: string
  readonly agentHost: string
  readonly process: Process
  readonly http: HttpRequest
  readonly peer: Peer
}

const NO_BYTES = Buffer.alloc(0)
const NO_PEER: Peer = {
  confidence: 0,
  direction: 0,
  localAddress: NO_BYTES,
  localPort: 0,
  remoteAddress: NO_BYTES,
  remotePort: 0,
}

/** Undefined for a request without its event, exchange or process. */
export function viewOf(request: Request): View | undefined {
  const kind = request.event?.kind
  if (kind?.$case !== 'httpRequest' || request.event === undefined || request.process === undefined)
    return undefined
  return {
    eventId: request.event.eventId,
    agentId: request.agentId,
    agentHost: request.host,
    process: request.process,
    http: kind.value,
    peer: kind.value.peer ?? NO_PEER,
  }
}

const INGRESS = 1
const text = (sql: string, read: (view: View) => string): Field => ({ kind: 'text', sql, read })
const integer = (sql: string, read: (view: View) => bigint | number): Field => ({
  kind: 'integer',
  sql,
  read,
})
const address = (sql: string, read: (view: View) => Uint8Array): Field => ({ kind: 'address', sql, read })
const id = (size: number, sql: string, read: (view: View) => Uint8Array): Field => ({
  kind: 'id',
  size,
  sql,
  read,
})
const named = (sql: string, names: readonly string[], read: (view: View) => number): Field => ({
  kind: 'enum',
  names,
  sql,
  read,
})
const end = (ingress: string, other: string) => `if(direction = 'ingress', ${ingress}, ${other})`

export const requestFields: ReadonlyMap<string, Field> = new Map([
  ['req.method', text('method', (v) => v.http.method)],
  ['req.scheme', text('scheme', (v) => v.http.scheme)],
  ['req.host', text('host', (v) => v.http.host)],
  ['req.path', text('path', (v) => v.http.path)],
  ['req.query', text('query', (v) => v.http.query)],
  ['req.content_type', text('request_content_type', (v) => v.http.requestContentType)],
  ['req.user_agent', text('user_agent', (v) => v.http.userAgent)],
  ['req.bytes', integer('request_bytes', (v) => v.http.requestBytes)],
  ['req.body_bytes', integer('request_body_bytes', (v) => v.http.requestBodyBytes)],
  ['res.status', integer('status', (v) => v.http.status)],
  ['res.content_type', text('response_content_type', (v) => v.http.responseContentType)],
  ['res.bytes', integer('response_bytes', (v) => v.http.responseBytes)],
  ['res.body_bytes', integer('response_body_bytes', (v) => v.http.responseBodyBytes)],
  ['res.first_byte_ns', integer('first_byte_ns', (v) => v.http.firstByteNano)],
  ['duration_ns', integer('duration_ns', (v) => v.http.durationNano)],
  ['bytes_lost', integer('bytes_lost', (v) => v.http.bytesLost)],
  [
    'completeness',
    named('completeness', ['unspecified', 'complete', 'gap', 'aborted'], (v) => v.http.completeness),
  ],
  ['proc.pid', integer('pid', (v) => v.process.pid)],
  ['proc.parent_pid', integer('parent_pid', (v) => v.process.parentPid)],
  ['proc.uid', integer('uid', (v) => v.process.uid)],
  ['proc.user', text('user', (v) => v.process.user)],
  ['proc.comm', text('comm', (v) => v.process.comm)],
  ['proc.exe', text('exe', (v) => v.process.exe)],
  ['proc.container_id', text('container_id', (v) => v.process.containerId)],
  ['proc.cgroup', text('cgroup', (v) => v.process.cgroup)],
  ['agent.id', id(16, 'agent_id', (v) => Buffer.from(v.agentId.replaceAll('-', ''), 'hex'))],
  ['agent.host', text('agent_host', (v) => v.agentHost)],
  ['conn.id', id(16, 'connection_id', (v) => v.http.connectionId)],
  ['conn.protocol', text('protocol', (v) => v.http.protocol)],
  ['conn.tls_library', text('tls_library', (v) => v.http.tlsLibrary)],
  ['conn.direction', named('direction', ['unspecified', 'ingress', 'egress'], (v) => v.peer.direction)],
  [
    'conn.confidence',
    named('confidence', ['unspecified', 'unknown', 'inferred', 'exact'], (v) => v.peer.confidence),
  ],
  [
    'src.ip',
    address(end('remote_address', 'local_address'), ({ peer }) =>
      peer.direction === INGRESS ? peer.remoteAddress : peer.localAddress,
    ),
  ],
  [
    'src.port',
    integer(end('remote_port', 'local_port'), ({ peer }) =>
      peer.direction === INGRESS ? peer.remotePort : peer.localPort,
    ),
  ],
  [
    'dst.ip',
    address(end('local_address', 'remote_address'), ({ peer }) =>
      peer.direction === INGRESS ? peer.localAddress : peer.remoteAddress,
    ),
  ],
  [
    'dst.port',
    integer(end('local_port', 'remote_port'), ({ peer }) =>
      peer.direction === INGRESS ? peer.localPort : peer.remotePort,
    ),
  ],
  ['event.id', id(16, 'event_id', (v) => v.eventId)],
  ['trace.id', id(16, 'trace_id', (v) => v.http.traceId)],
  ['span.id', id(8, 'span_id', (v) => v.http.spanId)],
])
