/**
 * A batch's payload (a serialized cleartap.event.v1.Events) to rows, straight from the wire bytes:
 * nothing is held as an object. Bad events are left out and named; a payload that is no Events throws.
 */
import type { Rejected } from '../../../gen/cleartap/pulse/v1/ingest.js'
import { type Column, type GivenColumn, type Refusal, writeSlot } from './columns.js'
import { connectionColumns } from './connections.js'
import {
  ARTIFACT_SLOTS,
  artifactPlan,
  CONNECTION_FIELD,
  connectionPlan,
  EVENT,
  EVENT_SLOTS,
  eventPlan,
  FIRST_KIND_SLOT,
  HTTP_REQUEST_FIELD,
  PROCESS_SLOTS,
  processPlan,
  requestPlan,
} from './event-slots.js'
import { processColumns } from './processes.js'
import { artifactColumns, MAX_ARTIFACTS, requestColumns } from './requests.js'
import { RowBuffer } from './row-buffer.js'
import { MalformedError, Slots, WireReader } from './wire.js'

/** What a batch's rows say beside its events. */
export interface BatchContext {
  readonly org: string
  readonly ingestedAtMicros: bigint
  /** 16 bytes. */
  readonly streamId: Uint8Array
  readonly sequence: bigint
  /** 16 bytes. */
  readonly agentId: Uint8Array
  readonly agentHost: string
}

/** Rows of a block, a buffer a table. */
export interface BlockRows {
  readonly requests: RowBuffer
  readonly connections: RowBuffer
}

/** Tables that have a batch's rows already, from before a restart. */
export type StoredTables = ReadonlySet<keyof BlockRows>

export interface EncodedBatch {
  /** Events in the payload. */
  readonly events: number
  /** Events that have a row now (in these rows or, for stored tables, before). */
  readonly accepted: number
  /** Indexes of the events without a row. */
  readonly refused: readonly number[]
  readonly rejected: readonly Rejected[]
  readonly rejectedOverflow: number
}

/** Most rejections that are named; more are counted. */
export const MAX_NAMED_REJECTIONS = 100

const PROCESSES_FIELD = 1
const EVENTS_FIELD = 2
const BYTES = 2
const MAX_PROCESSES = 65_536

/** A process as its piece of a row, or why it is refused. */
type ProcessPiece = { readonly start: number; readonly end: number } | Refusal

export class BatchEncoder {
  readonly #event = new Slots(EVENT_SLOTS)
  readonly #process = new Slots(PROCESS_SLOTS)
  readonly #artifact = new Slots(ARTIFACT_SLOTS)
  readonly #pieces = new RowBuffer()
  readonly #none = new RowBuffer()

  /**
   * Adds the payload's rows. Throws MalformedError if the payload is not an Events or does not hold
   * `expectedEvents`; the rows are then as they were.
   */
  encode(
    payload: Uint8Array,
    expectedEvents: number,
    context: BatchContext,
    rows: BlockRows,
    stored: StoredTables,
  ): EncodedBatch {
    const before = [rows.requests, rows.connections].map(
      (buffer) => [buffer, buffer.length, buffer.rows] as const,
    )
    try {
      return this.#encode(payload, expectedEvents, context, rows, stored)
    } catch (error) {
      for (const [buffer, length, count] of before) {
        buffer.truncate(length)
        buffer.rows = count
      }
      throw error
    }
  }

  #encode(
    payload: Uint8Array,
    expectedEvents: number,
    context: BatchContext,
    rows: BlockRows,
    stored: StoredTables,
  ): EncodedBatch {
    const reader = new WireReader(payload)
    const given = encodeGiven(context)
    const pieces = this.#readProcesses(reader, given)
    const rejected: Rejected[] = []
    let events = 0
    const refused: number[] = []
    for (const end of entries(reader, EVENTS_FIELD)) {
      const refusal = this.#encodeEvent(reader, end, events, { given, pieces, rows, stored })
      if (refusal) {
        refused.push(events)
        if (rejected.length < MAX_NAMED_REJECTIONS) {
          rejected.push({ sequence: context.sequence, index: events, ...refusal })
        }
      }
      events += 1
    }
    if (events !== expectedEvents) {
      throw new MalformedError(`event_count is ${expectedEvents}, but the payload holds ${events} events`)
    }
    const rejectedOverflow = refused.length - rejected.length
    return { events, accepted: events - refused.length, refused, rejected, rejectedOverflow }
  }

  #readProcesses(reader: WireReader, given: GivenBytes): ProcessPiece[] {
    const pieces: ProcessPiece[] = []
    this.#pieces.truncate(0)
    for (const end of entries(reader, PROCESSES_FIELD)) {
      if (pieces.length === MAX_PROCESSES) throw new MalformedError(`more than ${MAX_PROCESSES} processes`)
      this.#process.clear()
      reader.read(processPlan, end, this.#process)
      const start = this.#pieces.length
      this.#pieces.raw(given.agent, 0, given.agent.length)
      const refusal = writeColumns(this.#pieces, processColumns, reader.bytes, this.#process)
      pieces.push(refusal ?? { start, end: this.#pieces.length })
    }
    return pieces
  }

  #encodeEvent(reader: WireReader, end: number, index: number, batch: BatchState): Refusal | undefined {
    const kind = this.#readEvent(reader, end)
    if (kind === undefined) return { field: 'kind', reason: 'expected a connection or an HTTP request' }
    const table = kind === HTTP_REQUEST_FIELD ? 'requests' : 'connections'
    const piece = batch.pieces[this.#event.low[EVENT.process] ?? 0]
    if (piece === undefined) return { field: 'process', reason: `expected less than ${batch.pieces.length}` }
    if ('reason' in piece) return piece
    const rows = batch.stored.has(table) ? this.#none : batch.rows[table]
    if (rows === this.#none) rows.truncate(0)
    const start = rows.length
    const columns = kind === HTTP_REQUEST_FIELD ? requestColumns : connectionColumns
    const refusal = this.#writeRow(rows, columns, reader, { ...batch, piece, index })
    if (refusal) rows.truncate(start)
    else rows.rows += 1
    return refusal
  }

  /** Fills the event's slots; returns the field number of its kind. The last kind counts, as protobuf has it. */
  #readEvent(reader: WireReader, end: number): number | undefined {
    const slots = this.#event
    slots.clear()
    let kind: number | undefined
    while (reader.at < end) {
      const tag = reader.tag()
      const field = tag >>> 3
      if ((field === HTTP_REQUEST_FIELD || field === CONNECTION_FIELD) && (tag & 7) === BYTES) {
        if (kind !== undefined && kind !== field) slots.clear(FIRST_KIND_SLOT)
        kind = field
        const stop = reader.lengthEnd(end)
        reader.read(field === HTTP_REQUEST_FIELD ? requestPlan : connectionPlan, stop, slots)
      } else reader.field(eventPlan, tag, end, slots)
    }
    if (reader.at !== end) throw new MalformedError('a field runs over the end of its message')
    return kind
  }

  #writeRow(
    rows: RowBuffer,
    columns: readonly Column[],
    reader: WireReader,
    row: RowState,
  ): Refusal | undefined {
    for (const column of columns) {
      if ('given' in column) {
        const refusal = this.#writeGiven(rows, column.given, reader, row)
        if (refusal) return refusal
      } else {
        const reason = writeSlot(rows, reader.bytes, this.#event, column.slot, column.encoding)
        if (reason !== undefined) return { field: column.name, reason }
      }
    }
    return undefined
  }

  #writeGiven(rows: RowBuffer, column: GivenColumn, reader: WireReader, row: RowState): Refusal | undefined {
    const { given, piece } = row
    switch (column) {
      case 'process':
        return void rows.raw(this.#pieces.written(), piece.start, piece.end)
      case 'batch_index':
        return void rows.u32(row.index)
      case 'artifacts':
        return this.#writeArtifacts(rows, reader)
      case 'org':
        return void rows.raw(given.org, 0, given.org.length)
      case 'ingested_at':
        return void rows.raw(given.ingestedAt, 0, 8)
      case 'stream_id':
        return void rows.raw(given.streamId, 0, 16)
      case 'seq':
        return void rows.raw(given.sequence, 0, 8)
    }
  }

  #writeArtifacts(rows: RowBuffer, reader: WireReader): Refusal | undefined {
    const places = this.#event.repeated
    const count = places.length / 2
    if (count > MAX_ARTIFACTS) {
      return { field: 'artifacts', reason: `expected at most ${MAX_ARTIFACTS}, got ${count}` }
    }
    rows.length32(count)
    const at = reader.at
    for (let i = 0; i < places.length; i += 2) {
      this.#artifact.clear()
      reader.at = places[i] ?? 0
      reader.read(artifactPlan, places[i + 1] ?? 0, this.#artifact)
      const refusal = writeColumns(rows, artifactColumns, reader.bytes, this.#artifact)
      if (refusal) {
        reader.at = at
        return refusal
      }
    }
    reader.at = at
    return undefined
  }
}

interface GivenBytes {
  readonly org: Uint8Array
  readonly ingestedAt: Uint8Array
  readonly streamId: Uint8Array
  readonly sequence: Uint8Array
  /** agent_id and agent_host, as they stand before the process columns. */
  readonly agent: Uint8Array
}

interface BatchState {
  readonly given: GivenBytes
  readonly pieces: readonly ProcessPiece[]
  readonly rows: BlockRows
  readonly stored: StoredTables
}

interface RowState extends BatchState {
  readonly piece: { readonly start: number; readonly end: number }
  readonly index: number
}

function encodeGiven(context: BatchContext): GivenBytes {
  const write = (fill: (rows: RowBuffer) => void): Uint8Array => {
    const rows = new RowBuffer(128)
    fill(rows)
    return rows.written()
  }
  const text = (rows: RowBuffer, value: string) => {
    const bytes = Buffer.from(value)
    rows.text(bytes, 0, bytes.length)
  }
  return {
    org: write((rows) => text(rows, context.org)),
    ingestedAt: write((rows) => rows.bigint(context.ingestedAtMicros)),
    streamId: context.streamId,
    sequence: write((rows) => rows.bigint(context.sequence)),
    agent: write((rows) => {
      rows.raw(context.agentId, 0, 16)
      text(rows, context.agentHost)
    }),
  }
}

function writeColumns(
  rows: RowBuffer,
  columns: readonly Column[],
  source: Uint8Array,
  slots: Slots,
): Refusal | undefined {
  for (const column of columns) {
    if ('given' in column) continue
    const reason = writeSlot(rows, source, slots, column.slot, column.encoding)
    if (reason !== undefined) return { field: column.name, reason }
  }
  return undefined
}

/** Goes through the payload's entries with a field number: the reader stands at each, its end is given. */
function* entries(reader: WireReader, wanted: number): Generator<number> {
  const end = reader.bytes.length
  reader.at = 0
  while (reader.at < end) {
    const tag = reader.tag()
    if (tag >>> 3 !== wanted || (tag & 7) !== BYTES) {
      reader.skip(tag & 7, end)
      continue
    }
    const stop = reader.lengthEnd(end)
    yield stop
    reader.at = stop
  }
}
