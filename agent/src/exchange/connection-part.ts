/** One part of a connection's life: deltas since the previous part. */
import type { Peer, ProcessInfo } from './exchange.js'

export interface ConnectionPart {
  /** UUIDv7, 16 bytes: the event's id. */
  readonly id: Uint8Array
  /** UUIDv7, 16 bytes. */
  readonly connectionId: Uint8Array
  readonly process: ProcessInfo
  readonly peer: Peer
  /** Counts up from 1. */
  readonly part: number
  /** True in the last part. */
  readonly finalized: boolean
  /** Unix epoch nanoseconds: when the connection was first seen, and where this part begins. */
  readonly openedNs: bigint
  readonly startNs: bigint
  /** Plaintext bytes since the previous part; the lost ones were not seen. */
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly bytesLost: number
  /** Such as "http/1.1"; empty while unknown. */
  readonly protocol: string
  /** Such as "openssl"; empty if unknown. */
  readonly tlsLibrary: string
  /** Exchanges since the previous part. */
  readonly exchanges: number
}
