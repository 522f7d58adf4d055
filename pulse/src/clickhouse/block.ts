/** A block: whole batches whose rows go to ClickHouse together, under tokens that name exactly this content. */
import { createHash } from 'node:crypto'
import type { Span } from '../../../common/tracing.js'
import type { BlockRows } from '../tables/encode-batch.js'
import { RowBuffer } from '../tables/row-buffer.js'

/** A batch in a block. */
export interface BlockBatch {
  /** 16 bytes. */
  readonly streamId: Uint8Array
  readonly epoch: bigint
  readonly sequence: bigint
  readonly payloadCrc32: number
  readonly accepted: number
  readonly rejected: number
  /** Events that the agent dropped before this batch. */
  readonly lost: bigint
  /** A serialized Events, for live readers; absent if it was not usable. */
  readonly payload: Uint8Array | undefined
  /** Indexes of the payload's events that have no row. */
  readonly refused: readonly number[]
  /** 16 bytes. */
  readonly agentId: Uint8Array
  readonly agentHost: string
  /** From the batch's arrival to its commit. */
  readonly span: Span
  /** Called once when the batch is committed. */
  readonly onCommit: () => void
}

export class Block {
  readonly ingestedAtMicros: bigint
  readonly openedAtMs = Date.now()
  readonly rows: BlockRows
  readonly batches: BlockBatch[] = []

  /** `rows`: empty buffers to fill; absent: new ones. */
  constructor(ingestedAtMicros: bigint, rows: BlockRows = newRows()) {
    this.ingestedAtMicros = ingestedAtMicros
    this.rows = rows
  }

  get rowCount(): number {
    return this.rows.requests.rows + this.rows.connections.rows
  }

  get bytes(): number {
    return this.rows.requests.length + this.rows.connections.length
  }

  /**
   * Names the block's rows in a table. Tables count tokens per partition and drop a second insert under one, so
   * equal tokens must mean equal rows: rows follow from the batches' payloads and from ingested_at, which no
   * other block has; hashing the rows themselves would add nothing but time.
   */
  token(table: string): Buffer {
    const names = this.batches
      .map(({ streamId, sequence, payloadCrc32 }) =>
        [Buffer.from(streamId).toString('hex'), sequence, payloadCrc32].join(':'),
      )
      .sort()
    const content = [table, this.ingestedAtMicros, ...names].join('\n')
    return createHash('sha256').update(content).digest()
  }
}

function newRows(): BlockRows {
  return { requests: new RowBuffer(), connections: new RowBuffer() }
}
