/** Tables ingest_batches and ingest_holes: how far each agent's stream is stored. */
import type { LossReason } from '../../../gen/cleartap/pulse/v1/ingest.js'
import type { RowBuffer } from './row-buffer.js'

export const ingestBatchColumns = [
  'stream_id',
  'epoch',
  'seq',
  'rows',
  'rejected',
  'lost',
  'token',
  'committed_at',
] as const

export interface IngestBatchRow {
  /** 16 bytes. */
  readonly streamId: Uint8Array
  readonly epoch: bigint
  readonly sequence: bigint
  readonly rows: number
  readonly rejected: number
  /** Events that the agent dropped before this batch. */
  readonly lost: bigint
  /** 32 bytes: what the block was committed under. */
  readonly token: Uint8Array
  readonly committedAtMicros: bigint
}

/** Adds a row. */
export function writeIngestBatch(rows: RowBuffer, row: IngestBatchRow): void {
  rows.raw(row.streamId, 0, 16)
  rows.bigint(BigInt.asIntN(64, row.epoch))
  rows.bigint(BigInt.asIntN(64, row.sequence))
  rows.u32(row.rows)
  rows.u32(row.rejected)
  rows.bigint(BigInt.asIntN(64, row.lost))
  rows.raw(row.token, 0, 32)
  rows.bigint(row.committedAtMicros)
  rows.rows += 1
}

export const ingestHoleColumns = ['stream_id', 'first', 'last', 'reason', 'recorded_at'] as const

export interface IngestHoleRow {
  /** 16 bytes. */
  readonly streamId: Uint8Array
  readonly first: bigint
  readonly last: bigint
  readonly reason: LossReason
  readonly recordedAtMicros: bigint
}

/** Adds a row. */
export function writeIngestHole(rows: RowBuffer, row: IngestHoleRow): void {
  rows.raw(row.streamId, 0, 16)
  rows.bigint(BigInt.asIntN(64, row.first))
  rows.bigint(BigInt.asIntN(64, row.last))
  rows.u8(Math.max(0, row.reason))
  rows.bigint(row.recordedAtMicros)
  rows.rows += 1
}
