/** Table connections: a row a part of a connection; sums over parts are the connection. */
import { type Column, SHORT_TEXT, UUID } from './columns.js'
import { EVENT, KIND } from './event-slots.js'
import { PROCESS_PIECE } from './processes.js'

const u32 = { kind: 'u32' } as const
const u64 = { kind: 'u64' } as const

/** In the order of the row. */
export const connectionColumns: readonly Column[] = [
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
  { name: 'part', slot: KIND.part, encoding: u32 },
  { name: 'finalized', slot: KIND.finalized, encoding: { kind: 'bool' } },
  { name: 'opened', slot: KIND.opened_unix_nano, encoding: { kind: 'time' } },
  { name: 'bytes_read', slot: KIND.bytes_read, encoding: u64 },
  { name: 'bytes_written', slot: KIND.bytes_written, encoding: u64 },
  { name: 'bytes_lost', slot: KIND.bytes_lost, encoding: u64 },
  { name: 'exchanges', slot: KIND.exchanges, encoding: u32 },
  { name: 'stream_id', given: 'stream_id' },
  { name: 'seq', given: 'seq' },
  { name: 'batch_index', given: 'batch_index' },
]
