/**
 * Commits blocks: rows, then the record that they are stored, then the batches' onCommit.
 * Rows of a few blocks go in side by side; records follow in order, one by one, so that the order of ingested_at
 * is the order of commit and only rows after the last record can lack theirs.
 * While ClickHouse is down the same bytes are tried again and again, and room() makes streams wait.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import {
  contextOf,
  describe,
  link,
  type Span,
  SpanKind,
  spanned,
  startSpan,
} from '../../../common/tracing.js'
import type { Column } from '../tables/columns.js'
import { connectionColumns } from '../tables/connections.js'
import type { BlockRows } from '../tables/encode-batch.js'
import { ingestBatchColumns, writeIngestBatch } from '../tables/ingest-batches.js'
import { requestColumns } from '../tables/requests.js'
import { RowBuffer } from '../tables/row-buffer.js'
import { Block, type BlockBatch } from './block.js'
import { type ClickHouse, StatementError } from './client.js'

export interface WriterOptions {
  readonly clickhouse: ClickHouse
  readonly database: string
  readonly maxBlockRows: number
  readonly maxBlockBytes: number
  readonly maxBlockAgeMs: number
  /** The latest ingested_at in the database; blocks come after it. */
  readonly afterMicros: bigint
  readonly log: Logger
  /** Called after each commit, before the batches' own onCommit. Must not throw. */
  readonly onBlock: (block: Block, durationMs: number) => void
  /** Called after each failed attempt. */
  readonly onRetry: (error: StatementError) => void
}

/** Blocks whose rows go in at one time. */
const MAX_INSERTING_BLOCKS = 2
/** Blocks that wait behind those before room() makes streams wait. */
const MAX_WAITING_BLOCKS = 1
const FIRST_RETRY_MS = 50
const LAST_RETRY_MS = 5_000
/** With nothing in flight, a block this full is not kept waiting for more. */
const IDLE_SEAL_SHARE = 0.25

export class BlockWriter {
  readonly #options: WriterOptions
  readonly #sealed: Block[] = []
  /** Buffers of committed blocks, to be filled again: large new ones keep the garbage collector busy. */
  readonly #spare: BlockRows[] = []
  readonly #waiting = new Set<() => void>()
  readonly #stop = new AbortController()
  #open: Block | undefined
  #ageTimer: NodeJS.Timeout | undefined
  #lastMicros: bigint
  /** Blocks between the start of their insert and their commit. */
  readonly #inserting = new Set<Block>()
  /** Resolves when the latest of them is committed, or the writer was stopped. */
  #latest: Promise<void> = Promise.resolve()
  #failingSinceMs: number | undefined
  #retries = 0

  constructor(options: WriterOptions) {
    this.#options = options
    this.#lastMicros = options.afterMicros
  }

  /** Since when commits fail (Date.now()), or undefined while they do not. */
  get failingSinceMs(): number | undefined {
    return this.#failingSinceMs
  }

  /** Bytes of rows that are not committed yet. */
  get pendingBytes(): number {
    return [...this.#inserting, ...this.#sealed, ...(this.#open ? [this.#open] : [])].reduce(
      (sum, block) => sum + block.bytes,
      0,
    )
  }

  /** Resolves when a batch may be added; rejects with the signal's reason when that is aborted first. */
  async room(signal: AbortSignal): Promise<void> {
    while (this.#sealed.length > MAX_WAITING_BLOCKS) {
      signal.throwIfAborted()
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#waiting.delete(wake)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        this.#waiting.add(wake)
        signal.addEventListener('abort', wake)
      })
    }
    signal.throwIfAborted()
  }

  /** The block that takes rows now. Add rows and the batch without waiting in between, then call added(). */
  block(): Block {
    this.#open ??= this.#openBlock()
    return this.#open
  }

  /** Adds a batch whose rows are in block(); the batch's onCommit follows. */
  added(batch: BlockBatch): void {
    const block = this.block()
    block.batches.push(batch)
    if (this.#share(block) >= 1) this.#seal()
    else this.#sealIfIdle()
  }

  /** Commits what was added, as long as ClickHouse answers within graceMs. The rest was never acknowledged. */
  async close(graceMs: number): Promise<void> {
    this.#seal()
    const timer = setTimeout(() => this.#stop.abort(), graceMs)
    while (this.#inserting.size > 0 && !this.#stop.signal.aborted) await this.#latest
    clearTimeout(timer)
    this.#stop.abort()
  }

  /** How full a block is; 1 seals it. */
  #share(block: Block): number {
    const { maxBlockRows, maxBlockBytes } = this.#options
    return Math.max(block.rowCount / maxBlockRows, block.bytes / maxBlockBytes)
  }

  #openBlock(): Block {
    const now = BigInt(Date.now()) * 1000n
    this.#lastMicros = now > this.#lastMicros ? now : this.#lastMicros + 1n
    const ageMs = this.#options.maxBlockAgeMs
    this.#ageTimer = setTimeout(() => this.#seal(), ageMs)
    return new Block(this.#lastMicros, this.#spare.pop())
  }

  #seal(): void {
    clearTimeout(this.#ageTimer)
    const block = this.#open
    if (block === undefined || block.batches.length === 0) return
    this.#open = undefined
    this.#sealed.push(block)
    this.#startNext()
  }

  #sealIfIdle(): void {
    const block = this.#open
    const isFree = this.#inserting.size < MAX_INSERTING_BLOCKS && this.#sealed.length === 0
    if (isFree && block !== undefined && this.#share(block) >= IDLE_SEAL_SHARE) this.#seal()
  }

  #startNext(): void {
    while (this.#inserting.size < MAX_INSERTING_BLOCKS) {
      const block = this.#sealed.shift()
      if (block === undefined) return
      this.#inserting.add(block)
      this.#latest = this.#commit(block, this.#latest)
    }
  }

  /** Inserts the block's rows, waits for its predecessor, then records it. */
  async #commit(block: Block, predecessor: Promise<void>): Promise<void> {
    const startedAt = performance.now()
    const retriesBefore = this.#retries
    const span = startBlockSpan(block)
    const areRowsIn = await this.#insertBlock(block, span)
    await predecessor
    const isIn = areRowsIn && (await this.#insertRecord(block, span))
    if (!isIn) describe(span, { 'cleartap.outcome': 'stopped' })
    span.end()
    if (!isIn) return
    this.#inserting.delete(block)
    this.#options.onBlock(block, performance.now() - startedAt)
    for (const batch of block.batches) batch.onCommit()
    // After a retry the first attempt may still hold the bytes.
    if (retriesBefore === this.#retries) this.#reuse(block.rows)
    this.#startNext()
    this.#sealIfIdle()
    for (const wake of this.#waiting) wake()
  }

  #reuse({ requests, connections }: BlockRows): void {
    if (this.#spare.length > MAX_INSERTING_BLOCKS + MAX_WAITING_BLOCKS) return
    requests.clear()
    connections.clear()
    this.#spare.push({ requests, connections })
  }

  /** False if the writer was stopped before the rows were in. */
  async #insertBlock(block: Block, span: Span): Promise<boolean> {
    const { requests, connections } = block.rows
    const done = await Promise.all([
      this.#insertTable(block, span, 'requests', columnNames(requestColumns), requests),
      this.#insertTable(block, span, 'connections', columnNames(connectionColumns), connections),
    ])
    return !done.includes(false)
  }

  /** False if the writer was stopped before. */
  async #insertRecord(block: Block, span: Span): Promise<boolean> {
    if (this.#stop.signal.aborted) return false
    const columns = ingestBatchColumns.join(', ')
    return await this.#insertTable(block, span, 'ingest_batches', columns, this.#record(block))
  }

  #record(block: Block): RowBuffer {
    const rows = new RowBuffer()
    const token = block.token('ingest_batches')
    for (const batch of block.batches) {
      writeIngestBatch(rows, {
        streamId: batch.streamId,
        epoch: batch.epoch,
        sequence: batch.sequence,
        rows: batch.accepted,
        rejected: batch.rejected,
        lost: batch.lost,
        token,
        committedAtMicros: block.ingestedAtMicros,
      })
    }
    return rows
  }

  async #insertTable(
    block: Block,
    blockSpan: Span,
    table: string,
    columns: string,
    rows: RowBuffer,
  ): Promise<boolean> {
    if (rows.rows === 0) return true
    const facts = {
      'db.system.name': 'clickhouse',
      'db.collection.name': table,
      'cleartap.rows': rows.rows,
      'cleartap.bytes': rows.length,
    } as const
    const options = { kind: SpanKind.CLIENT, parent: contextOf(blockSpan), facts }
    return await spanned('clickhouse insert', options, (span) =>
      this.#insertRows(block, span, table, columns, rows),
    )
  }

  async #insertRows(
    block: Block,
    span: Span,
    table: string,
    columns: string,
    rows: RowBuffer,
  ): Promise<boolean> {
    const bytes = rows.written()
    const token = block.token(table).toString('hex')
    const sql = `INSERT INTO ${this.#options.database}.${table} (${columns}) FORMAT RowBinary`
    for (let attempt = 1, pauseMs = FIRST_RETRY_MS; ; attempt++) {
      describe(span, { 'cleartap.attempts': attempt })
      if (this.#stop.signal.aborted) return false
      try {
        await this.#options.clickhouse.insert(sql, bytes, insertSettings(token, rows.rows))
        this.#failingSinceMs = undefined
        return true
      } catch (error) {
        if (!(error instanceof StatementError)) throw error
        this.#onFailure(table, error, pauseMs)
        if (error.code !== undefined) describe(span, { 'db.response.status_code': error.code })
        await sleep(pauseMs, undefined, { signal: this.#stop.signal }).catch(() => undefined)
        pauseMs = Math.min(pauseMs * 2, LAST_RETRY_MS)
      }
    }
  }

  /** Every failure is tried again: rows are valid by construction, so even a refusal is the database's state. */
  #onFailure(table: string, error: StatementError, pauseMs: number): void {
    this.#retries += 1
    this.#failingSinceMs ??= Date.now()
    this.#options.onRetry(error)
    const fields = { table, code: error.code, reason: error.message, pauseMs }
    if (error.retryable) this.#options.log.warn(fields, 'insert failed; the same rows will be sent again')
    else this.#options.log.error(fields, 'insert refused; the same rows will be sent again')
  }
}

/** In the trace of its first batch; every batch and the block are linked both ways. */
function startBlockSpan({ batches, rowCount, bytes }: Block): Span {
  const [first] = batches
  const links = batches.map(({ span }) => span)
  const facts = { 'cleartap.batches': batches.length, 'cleartap.rows': rowCount, 'cleartap.bytes': bytes }
  const span = startSpan('pulse block', { ...(first && { parent: contextOf(first.span) }), links, facts })
  for (const batch of links) link(batch, span)
  return span
}

/** Defaults change between versions of ClickHouse: everything that write-once rests on is said. */
export function insertSettings(token: string, rows: number): Record<string, string | number> {
  return {
    async_insert: 0,
    insert_deduplicate: 1,
    insert_deduplication_token: token,
    deduplicate_blocks_in_dependent_materialized_views: 1,
    input_format_parallel_parsing: 0,
    max_insert_block_size: String(Math.max(rows + 1, 1_048_449)),
    min_insert_block_size_rows: String(Math.max(rows + 1, 1_048_449)),
    min_insert_block_size_bytes: '0',
    max_insert_threads: '1',
  }
}

function columnNames(columns: readonly Column[]): string {
  return columns.map((column) => column.name).join(', ')
}
