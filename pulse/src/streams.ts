/** Agents' streams: how far each is stored, what is on its way, and who may send. */
import { createHash } from 'node:crypto'
import type { SequenceHole } from '../../gen/cleartap/pulse/v1/ingest.js'
import type { ClickHouse } from './clickhouse/client.js'
import { insertSettings } from './clickhouse/writer.js'
import type { BlockRows, StoredTables } from './tables/encode-batch.js'
import { ingestHoleColumns, writeIngestHole } from './tables/ingest-batches.js'
import { RowBuffer } from './tables/row-buffer.js'

const MAX_STREAMS = 20_000
const NOTHING_STORED: StoredTables = new Set()

interface Hole {
  readonly first: bigint
  readonly last: bigint
}

/** One agent's spool, as far as Pulse has seen it. */
export class Stream {
  /** 16 bytes. */
  readonly id: Uint8Array
  /** False until the database has something of it. */
  known: boolean
  #epoch: bigint
  #committed: bigint
  #accepted: bigint
  #holes: Hole[]
  #owner: AbortController | undefined

  constructor(id: Uint8Array, known: boolean, epoch: bigint, committed: bigint, holes: readonly Hole[]) {
    this.id = id
    this.known = known
    this.#epoch = epoch
    this.#holes = [...holes]
    this.#committed = committed
    this.#accepted = committed
    this.#skipHoles()
  }

  /** Every batch up to here is stored, or declared lost. */
  get committedThrough(): bigint {
    return this.#committed
  }

  /** Every batch up to here is stored, declared lost or on its way. */
  get acceptedThrough(): bigint {
    return this.#accepted
  }

  get epoch(): bigint {
    return this.#epoch
  }

  /** Nobody sends and nothing is on its way. */
  get idle(): boolean {
    return this.#owner === undefined && this.#accepted === this.#committed
  }

  /** True if the epoch is not older than the newest seen; then it is the newest. */
  enter(epoch: bigint): boolean {
    if (epoch < this.#epoch) return false
    this.#epoch = epoch
    return true
  }

  /** Takes the stream over: who had it before is told to stop. */
  own(owner: AbortController, fenced: Error): void {
    this.#owner?.abort(fenced)
    this.#owner = owner
  }

  /** Gives it back, unless somebody else has it by now. */
  release(owner: AbortController): void {
    if (this.#owner === owner) this.#owner = undefined
  }

  /** A stream whose beginning Pulse never saw starts at what the agent still has. */
  startAt(firstSequence: bigint): void {
    if (this.known || firstSequence <= this.#accepted + 1n || !this.idleNumbers) return
    this.#committed = firstSequence - 1n
    this.#accepted = this.#committed
    this.#skipHoles()
  }

  get idleNumbers(): boolean {
    return this.#accepted === this.#committed
  }

  addHoles(holes: readonly Hole[]): void {
    this.#holes.push(...holes)
    this.#skipHoles()
  }

  /** Declared holes that are not known yet. */
  newHoles(declared: readonly SequenceHole[]): SequenceHole[] {
    return declared.filter(
      (hole) =>
        hole.last > this.#committed &&
        !this.#holes.some((known) => known.first <= hole.first && known.last >= hole.last),
    )
  }

  /** The batch after acceptedThrough is on its way. */
  accept(sequence: bigint): void {
    this.#accepted = sequence
    this.#skipHoles()
  }

  /** The batch is stored. Batches commit in order. */
  commit(sequence: bigint): void {
    this.known = true
    if (sequence > this.#committed) this.#committed = sequence
    this.#skipHoles()
  }

  #skipHoles(): void {
    this.#accepted = skip(this.#accepted, this.#holes)
    this.#committed = skip(this.#committed, this.#holes)
    this.#holes = this.#holes.filter((hole) => hole.last > this.#committed)
  }
}

function skip(from: bigint, holes: readonly Hole[]): bigint {
  let at = from
  for (let hole = holeAfter(at, holes); hole !== undefined; hole = holeAfter(at, holes)) at = hole.last
  return at
}

function holeAfter(at: bigint, holes: readonly Hole[]): Hole | undefined {
  return holes.find((hole) => hole.first <= at + 1n && hole.last > at)
}

/** Looks streams up in memory, then in the database. */
export class Streams {
  readonly #clickhouse: ClickHouse
  readonly #database: string
  readonly #streams = new Map<string, Promise<Stream>>()
  readonly #loaded = new Map<string, Stream>()
  readonly #orphans: ReadonlyMap<string, StoredTables>

  /** `orphans`: from findOrphans. */
  constructor(clickhouse: ClickHouse, database: string, orphans: ReadonlyMap<string, StoredTables>) {
    this.#clickhouse = clickhouse
    this.#database = database
    this.#orphans = orphans
  }

  /** Throws StatementError if the database must be asked and does not answer. */
  async get(id: Uint8Array): Promise<Stream> {
    const key = Buffer.from(id).toString('hex')
    let stream = this.#streams.get(key)
    if (stream === undefined) {
      this.#evict()
      stream = this.#load(key, id)
      this.#streams.set(key, stream)
      stream.then(
        (loaded) => this.#loaded.set(key, loaded),
        () => this.#streams.delete(key),
      )
    }
    return await stream
  }

  /** Tables that have a batch's rows from a block that was not recorded before a crash. */
  storedTables(stream: Stream, sequence: bigint): StoredTables {
    return this.#orphans.get(orphanKey(Buffer.from(stream.id).toString('hex'), sequence)) ?? NOTHING_STORED
  }

  /** Stores declared holes, then lets the stream pass them. Throws StatementError. */
  async declareHoles(stream: Stream, declared: readonly SequenceHole[]): Promise<void> {
    const holes = stream.newHoles(declared)
    if (holes.length === 0) return
    const rows = new RowBuffer()
    const recordedAtMicros = BigInt(Date.now()) * 1000n
    for (const hole of holes) writeIngestHole(rows, { ...hole, streamId: stream.id, recordedAtMicros })
    const bytes = rows.written()
    await this.#clickhouse.insert(
      `INSERT INTO ${this.#database}.ingest_holes (${ingestHoleColumns.join(', ')}) FORMAT RowBinary`,
      bytes,
      insertSettings(createHash('sha256').update(bytes).digest('hex'), rows.rows),
    )
    stream.addHoles(holes)
  }

  async #load(key: string, id: Uint8Array): Promise<Stream> {
    const parameters = { stream: key }
    const [batches, holes] = await Promise.all([
      this.#clickhouse.query(
        `SELECT count(), max(epoch), max(seq) FROM ${this.#database}.ingest_batches WHERE stream_id = unhex({stream:String})`,
        { parameters },
      ),
      this.#clickhouse.query(
        `SELECT first, last FROM ${this.#database}.ingest_holes FINAL WHERE stream_id = unhex({stream:String}) ORDER BY first`,
        { parameters },
      ),
    ])
    const [count, epoch, sequence] = (batches.rows[0] ?? ['0', '0', '0']).map((value) =>
      BigInt(String(value)),
    )
    return new Stream(
      Uint8Array.from(id),
      count !== 0n || holes.rows.length > 0,
      epoch ?? 0n,
      sequence ?? 0n,
      holes.rows.map(([first, last]) => ({ first: BigInt(String(first)), last: BigInt(String(last)) })),
    )
  }

  #evict(): void {
    if (this.#streams.size < MAX_STREAMS) return
    for (const [key, stream] of this.#loaded) {
      if (!stream.idle) continue
      this.#loaded.delete(key)
      this.#streams.delete(key)
      return
    }
  }
}

/** Where the last run ended. */
export interface Ending {
  /** The latest ingested_at of any table. */
  readonly lastMicros: bigint
  /** By orphanKey: rows that were committed without their record. */
  readonly orphans: ReadonlyMap<string, StoredTables>
}

/**
 * Looks for what a crash may have left: blocks are recorded one after the other, so only rows after the last
 * recorded block can lack their record, and a table has all rows of a batch or none.
 */
export async function findEnding(clickhouse: ClickHouse, database: string): Promise<Ending> {
  const micros = 'toUnixTimestamp64Micro'
  const recorded = await clickhouse.query(
    `SELECT ${micros}(max(committed_at)) FROM ${database}.ingest_batches`,
  )
  let lastMicros = BigInt(String(recorded.rows[0]?.[0] ?? '0'))
  const after = lastMicros
  const orphans = new Map<string, Set<keyof BlockRows>>()
  for (const table of ['requests', 'connections'] as const) {
    const found = await clickhouse.query(
      `SELECT lower(hex(stream_id)), toString(seq), ${micros}(max(ingested_at)) FROM ${database}.${table} WHERE ingested_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC') GROUP BY stream_id, seq`,
      { parameters: { after: after.toString() } },
    )
    for (const [stream, sequence, at] of found.rows) {
      const key = orphanKey(String(stream), BigInt(String(sequence)))
      orphans.set(key, (orphans.get(key) ?? new Set()).add(table))
      const ingestedAt = BigInt(String(at))
      if (ingestedAt > lastMicros) lastMicros = ingestedAt
    }
  }
  return { lastMicros, orphans }
}

function orphanKey(streamHex: string, sequence: bigint): string {
  return `${streamHex}:${sequence}`
}
