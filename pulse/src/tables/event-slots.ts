/** Where each field of an event lies while its row is written. Field numbers are those of event.proto. */
import { bytes, fixed64, type MessagePlan, message, messagePlan, repeated, varint } from './wire.js'

/** Slots of Event itself. */
export const EVENT = { event_id: 0, time_unix_nano: 1, process: 2 } as const

/** First slot that belongs to the kind; cleared when another kind follows. */
export const FIRST_KIND_SLOT = 3

/** Slots of Connection and HttpRequest; fields that both have share one. */
export const KIND = {
  connection_id: 3,
  confidence: 4,
  direction: 5,
  local_address: 6,
  local_port: 7,
  remote_address: 8,
  remote_port: 9,
  protocol: 10,
  tls_library: 11,
  bytes_lost: 12,
  method: 13,
  scheme: 14,
  host: 15,
  path: 16,
  query: 17,
  status: 18,
  first_byte_nano: 19,
  duration_nano: 20,
  request_bytes: 21,
  response_bytes: 22,
  request_body_bytes: 23,
  response_body_bytes: 24,
  request_content_type: 25,
  response_content_type: 26,
  user_agent: 27,
  completeness: 28,
  trace_id: 29,
  span_id: 30,
  index_in_connection: 31,
  part: 13,
  finalized: 14,
  opened_unix_nano: 15,
  bytes_read: 16,
  bytes_written: 17,
  exchanges: 18,
} as const
export const EVENT_SLOTS = 32

/** Slots of Process. */
export const PROCESS = {
  pid: 0,
  start_boottime_nano: 1,
  parent_pid: 2,
  uid: 3,
  comm: 4,
  exe: 5,
  user: 6,
  container_id: 7,
  cgroup: 8,
} as const
export const PROCESS_SLOTS = 9

/** Slots of ArtifactRef. */
export const ARTIFACT = {
  kind: 0,
  sha256: 1,
  size: 2,
  truncated: 3,
  content_type: 4,
  store: 5,
  key: 6,
} as const
export const ARTIFACT_SLOTS = 7

const peer: MessagePlan = messagePlan({
  1: varint(KIND.confidence),
  2: varint(KIND.direction),
  3: bytes(KIND.local_address),
  4: varint(KIND.local_port),
  5: bytes(KIND.remote_address),
  6: varint(KIND.remote_port),
})

/** Field numbers of Event's kinds. */
export const CONNECTION_FIELD = 10
export const HTTP_REQUEST_FIELD = 11

export const eventPlan: MessagePlan = messagePlan({
  1: bytes(EVENT.event_id),
  2: fixed64(EVENT.time_unix_nano),
  3: varint(EVENT.process),
})

export const connectionPlan: MessagePlan = messagePlan({
  1: bytes(KIND.connection_id),
  2: message(peer),
  3: varint(KIND.part),
  4: varint(KIND.finalized),
  5: fixed64(KIND.opened_unix_nano),
  6: varint(KIND.bytes_read),
  7: varint(KIND.bytes_written),
  8: varint(KIND.bytes_lost),
  9: bytes(KIND.protocol),
  10: bytes(KIND.tls_library),
  11: varint(KIND.exchanges),
})

export const requestPlan: MessagePlan = messagePlan({
  1: bytes(KIND.connection_id),
  2: message(peer),
  3: bytes(KIND.protocol),
  4: bytes(KIND.tls_library),
  5: bytes(KIND.method),
  6: bytes(KIND.scheme),
  7: bytes(KIND.host),
  8: bytes(KIND.path),
  9: bytes(KIND.query),
  10: varint(KIND.status),
  11: varint(KIND.first_byte_nano),
  12: varint(KIND.duration_nano),
  13: varint(KIND.request_bytes),
  14: varint(KIND.response_bytes),
  15: varint(KIND.request_body_bytes),
  16: varint(KIND.response_body_bytes),
  17: bytes(KIND.request_content_type),
  18: bytes(KIND.response_content_type),
  19: bytes(KIND.user_agent),
  20: varint(KIND.completeness),
  21: varint(KIND.bytes_lost),
  22: bytes(KIND.trace_id),
  23: bytes(KIND.span_id),
  24: varint(KIND.index_in_connection),
  25: repeated,
})

export const processPlan: MessagePlan = messagePlan({
  1: varint(PROCESS.pid),
  2: varint(PROCESS.start_boottime_nano),
  3: varint(PROCESS.parent_pid),
  4: varint(PROCESS.uid),
  5: bytes(PROCESS.comm),
  6: bytes(PROCESS.exe),
  7: bytes(PROCESS.user),
  8: bytes(PROCESS.container_id),
  9: bytes(PROCESS.cgroup),
})

export const artifactPlan: MessagePlan = messagePlan({
  1: varint(ARTIFACT.kind),
  2: bytes(ARTIFACT.sha256),
  3: varint(ARTIFACT.size),
  4: varint(ARTIFACT.truncated),
  5: bytes(ARTIFACT.content_type),
  6: bytes(ARTIFACT.store),
  7: bytes(ARTIFACT.key),
})
