/** A block: whole batches whose rows go to ClickHouse together, under tokens that name exactly this content. */
import { createHash } from 'node:crypto'
import type { BlockRows } from '../tables/encode-batch.js'
import { RowBuffer } from '../tables/row-buffer.js'

/** A batch in a block. */
export interface BlockBatch {
  /** 16 bytes. */
  readonly streamId: Uint8Array
  readonly epoch: bigint
  readonly sequence: bigint
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
  /** Called once when the batch is committed. */
  readonly onCommit: () => void
}

export class Block {
  readonly ingestedAtMicros: bigint
  readonly openedAtMs = Date.now()
  readonly rows: BlockRows = { requests: new RowBuffer(), connections: new RowBuffer() }
  readonly batches: BlockBatch[] = []

  constructor(ingestedAtMicros: bigint) {
    this.ingestedAtMicros = ingestedAtMicros
  }

  get rowCount(): number {
    return this.rows.requests.rows + this.rows.connections.rows
  }

  get bytes(): number {
    return this.rows.requests.length + this.rows.connections.length
  }

  /**
   * Names the block's rows in a table: SHA-256 over its batches, sorted, the rows and the table. Tables count
   * tokens per partition and drop a second insert under one, so equal tokens must mean equal rows.
   */
  token(table: string, rows: Uint8Array): Buffer {
    const names = this.batches
      .map((batch) => `${Buffer.from(batch.streamId).toString('hex')}:${batch.sequence}`)
      .sort()
    return createHash('sha256')
      .update(names.join('\n'))
      .update('\0')
      .update(table)
      .update('\0')
      .update(rows)
      .digest()
  }
}
