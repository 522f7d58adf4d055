/**
 * Batches on disk until Pulse has stored them.
 *
 * Every batch is written before it is sent, so whatever was taken survives the end of the process, kill -9
 * included; the file is synced once a second, so a power failure costs at most what came since. Numbers never
 * restart: blocks of them are reserved in a synced file, and what a crash leaves unused is declared a hole.
 */
import { closeSync, fdatasync, fdatasyncSync, mkdirSync, readdirSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { EventBatch } from '../../../../gen/cleartap/pulse/v1/ingest.js'
import { appendRecord, createSegment, SEGMENT_HEADER_BYTES, SegmentReader } from './segment.js'
import {
  type Hole,
  newStreamState,
  readStreamState,
  type StreamState,
  syncDirectory,
  writeStreamState,
} from './stream-state.js'

const RESERVED_NUMBERS = 1000
const SEGMENT_NAME = /^(\d{16})\.seg$/

export interface SpoolOptions {
  readonly directory: string
  /** SinkConfig.spool.max_bytes. */
  readonly maxBytes: number
  /** SinkConfig.spool.segment_bytes. */
  readonly segmentBytes: number
}

interface Segment {
  readonly path: string
  readonly first: number
  /** Below `first` if it holds no record. */
  last: number
  bytes: number
}

/** Totals since the start; bytes and segments as of now. */
export interface SpoolStats {
  readonly bytes: number
  readonly segments: number
  readonly nextSequence: number
  readonly ackedThrough: number
  /** Batches and their events lost to the size limit. */
  readonly droppedBatches: number
  readonly droppedEvents: number
  /** Segments whose end could not be read. */
  readonly damagedSegments: number
}

export class Spool {
  readonly streamId: Buffer
  readonly epoch: number
  /** Rises when a hole comes up that the latest hello has not told. */
  holesVersion = 0
  readonly #options: SpoolOptions
  #state: StreamState
  /** Oldest first; the last may be the one that is written. */
  readonly #segments: Segment[] = []
  #descriptor: number | undefined
  #next: number
  #bytes = 0
  #unsynced = false
  #droppedBatches = 0
  #droppedEvents = 0
  #damagedSegments = 0

  /** Opens or makes a spool. What a crash has left behind is put right; never fails for a torn tail. */
  constructor(options: SpoolOptions) {
    this.#options = options
    mkdirSync(options.directory, { recursive: true, mode: 0o700 })
    const known = readStreamState(options.directory)
    const state = known ?? newStreamState()
    this.streamId = Buffer.from(state.streamId, 'hex')
    this.epoch = state.epoch + 1
    this.#state = { ...state, epoch: this.epoch, holes: [...state.holes] }
    this.#findSegments(known === undefined)
    this.#next = state.reservedThrough + 1
    this.#declareUnused(state.reservedThrough)
    writeStreamState(options.directory, this.#state)
  }

  get nextSequence(): number {
    return this.#next
  }

  get ackedThrough(): number {
    return this.#state.ackedThrough
  }

  /** Lowest number that can still be read; nextSequence if there is none. */
  get firstAvailable(): number {
    const first = this.#segments.find((segment) => segment.last >= segment.first)
    return first === undefined ? this.#next : Math.max(first.first, this.ackedThrough + 1)
  }

  get bytes(): number {
    return this.#bytes
  }

  get holes(): readonly Hole[] {
    return this.#state.holes
  }

  /** Gives a batch its number and writes it. Throws what the file system says; the number stays free then. */
  append(make: (sequence: number) => EventBatch): number {
    const sequence = this.#next
    this.#reserve(sequence)
    const body = EventBatch.encode(make(sequence)).finish()
    const { segment, descriptor } = this.#writable(sequence)
    const written = appendRecord(descriptor, segment.bytes, sequence, body)
    segment.bytes += written
    segment.last = sequence
    this.#bytes += written
    this.#unsynced = true
    this.#next++
    this.#enforceLimit()
    return sequence
  }

  /**
   * Pulse has stored numbers that this spool does not know of, as when the directory was put back from a
   * copy: they are never used again.
   */
  skipPast(committedThrough: number): void {
    if (committedThrough < this.#next) return
    this.#closeActive()
    this.#next = committedThrough + 1
    this.#reserve(this.#next)
    this.ack(committedThrough)
  }

  /**
   * Pulse has less than it once acknowledged, as when its store was put back from a copy: what is gone from
   * here too is declared lost, or the stream would stand for ever.
   */
  declareMissing(committedThrough: number): void {
    const first = committedThrough + 1
    const last = this.firstAvailable - 1
    if (first > last || this.#isDeclared(first, last)) return
    this.#addHole({ first, last, reason: 'spool_corrupt' })
  }

  /** Reads batches from a number on, those that come later included. */
  read(from: number): SpoolCursor {
    return new SpoolCursor(this, from)
  }

  /** Everything up to a number is stored by Pulse: segments that hold nothing else go. */
  ack(through: number): void {
    if (through <= this.ackedThrough || through >= this.#next) return
    this.#state.ackedThrough = through
    this.#state.holes = this.#state.holes.filter((hole) => hole.last > through)
    this.#removeAcked()
  }

  /** Makes what was appended survive a power failure. */
  async sync(): Promise<void> {
    const descriptor = this.#descriptor
    if (!this.#unsynced || descriptor === undefined) return
    this.#unsynced = false
    await new Promise<void>((resolve, reject) => {
      fdatasync(descriptor, (error) => {
        // A segment that was closed in the meantime has been synced by that.
        if (error === null || this.#descriptor !== descriptor) resolve()
        else reject(error)
      })
    })
  }

  stats(): SpoolStats {
    return {
      bytes: this.#bytes,
      segments: this.#segments.length,
      nextSequence: this.#next,
      ackedThrough: this.ackedThrough,
      droppedBatches: this.#droppedBatches,
      droppedEvents: this.#droppedEvents,
      damagedSegments: this.#damagedSegments,
    }
  }

  /** Ends orderly: no number is left reserved, and what is acknowledged is gone. */
  close(): void {
    this.#closeActive()
    this.#state.reservedThrough = this.#next - 1
    writeStreamState(this.#options.directory, this.#state)
    for (const segment of this.#segments.filter(({ last }) => last <= this.ackedThrough))
      this.#remove(segment)
  }

  /** For the cursor: opens a segment; undefined if it is not of this stream. */
  open(path: string): SegmentReader | undefined {
    const reader = new SegmentReader(path)
    if (reader.streamId()?.equals(this.streamId) === true) return reader
    reader.close()
    return undefined
  }

  /** For the cursor: the segment that holds a number, or the first one after it. */
  segmentFor(sequence: number): { readonly path: string; readonly first: number } | undefined {
    return this.#segments.find((segment) => segment.last >= sequence)
  }

  /** For the cursor: numbers that a segment was to hold cannot be read. */
  reportDamage(first: number, last: number): void {
    if (this.#isDeclared(first, last)) return
    this.#damagedSegments++
    this.#addHole({ first, last, reason: 'spool_corrupt' })
  }

  /** For the cursor: the last number of the segment that holds a number. */
  lastOf(path: string): number {
    return this.#segments.find((segment) => segment.path === path)?.last ?? 0
  }

  /** Segments without a state belong to a stream that nobody knows any more. */
  #findSegments(isNew: boolean): void {
    const { directory } = this.#options
    const firsts = readdirSync(directory).flatMap((name) => SEGMENT_NAME.exec(name)?.[1] ?? [])
    if (isNew) {
      for (const text of firsts) unlinkSync(join(directory, `${text}.seg`))
      this.#damagedSegments = firsts.length
      return
    }
    firsts.sort().forEach((text, index) => {
      const path = join(directory, `${text}.seg`)
      const next = firsts[index + 1]
      const last = next === undefined ? this.#lastReadable(path) : Number(next) - 1
      const segment = { path, first: Number(text), last, bytes: statSync(path).size }
      this.#segments.push(segment)
      this.#bytes += segment.bytes
    })
  }

  /** The last number of the segment that was being written when the process ended. */
  #lastReadable(path: string): number {
    const reader = new SegmentReader(path)
    try {
      let last = 0
      if (reader.streamId()?.equals(this.streamId) === true) {
        for (let record = reader.next(); record !== undefined; record = reader.next()) last = record.sequence
      }
      if (reader.hasTornTail()) this.#damagedSegments++
      return last
    } finally {
      reader.close()
    }
  }

  /** Numbers above all that was written or acknowledged, up to the reserved bound. */
  #declareUnused(reservedThrough: number): void {
    const lastWritten = this.#segments.reduce((last, segment) => Math.max(last, segment.last), 0)
    const lastHole = this.#state.holes.reduce((last, hole) => Math.max(last, hole.last), 0)
    const first = Math.max(lastWritten, lastHole, this.ackedThrough) + 1
    if (first > reservedThrough) return
    const reason = this.#damagedSegments > 0 ? 'spool_corrupt' : 'unused_numbers'
    this.#state.holes.push({ first, last: reservedThrough, reason })
  }

  #reserve(sequence: number): void {
    if (sequence <= this.#state.reservedThrough) return
    const state = { ...this.#state, reservedThrough: sequence - 1 + RESERVED_NUMBERS }
    writeStreamState(this.#options.directory, state)
    this.#state = state
  }

  #writable(sequence: number): { segment: Segment; descriptor: number } {
    const active = this.#segments.at(-1)
    if (this.#descriptor !== undefined && active !== undefined && active.bytes < this.#options.segmentBytes) {
      return { segment: active, descriptor: this.#descriptor }
    }
    this.#closeActive()
    const path = join(this.#options.directory, `${String(sequence).padStart(16, '0')}.seg`)
    const descriptor = createSegment(path, this.streamId, sequence)
    const segment = { path, first: sequence, last: sequence - 1, bytes: SEGMENT_HEADER_BYTES }
    this.#descriptor = descriptor
    this.#segments.push(segment)
    this.#bytes += SEGMENT_HEADER_BYTES
    syncDirectory(this.#options.directory)
    this.#removeAcked()
    return { segment, descriptor }
  }

  #closeActive(): void {
    if (this.#descriptor === undefined) return
    fdatasyncSync(this.#descriptor)
    closeSync(this.#descriptor)
    this.#descriptor = undefined
    this.#unsynced = false
  }

  #removeAcked(): void {
    const done = this.#segments.filter(
      (segment, index) => segment.last <= this.ackedThrough && !this.#isActive(index),
    )
    if (done.length === 0) return
    // The position comes before the unlinking: after a crash in between nothing is taken for lost.
    writeStreamState(this.#options.directory, this.#state)
    for (const segment of done) this.#remove(segment)
  }

  #isActive(index: number): boolean {
    return this.#descriptor !== undefined && index === this.#segments.length - 1
  }

  /** Drops the oldest segments until the rest fits; the one that is written stays. */
  #enforceLimit(): void {
    while (this.#bytes > this.#options.maxBytes && this.#segments.length > 1) {
      const oldest = this.#segments[0]
      if (oldest === undefined) return
      this.#countDropped(oldest)
      const first = Math.max(oldest.first, this.ackedThrough + 1)
      if (first <= oldest.last) this.#addHole({ first, last: oldest.last, reason: 'spool_full' })
      this.#remove(oldest)
    }
  }

  #countDropped(segment: Segment): void {
    const reader = new SegmentReader(segment.path)
    try {
      reader.skipTo(this.ackedThrough + 1)
      for (let record = reader.next(); record !== undefined; record = reader.next()) {
        this.#droppedBatches++
        this.#droppedEvents += EventBatch.decode(record.body).eventCount
      }
    } finally {
      reader.close()
    }
  }

  #isDeclared(first: number, last: number): boolean {
    return this.#state.holes.some((hole) => hole.first <= first && hole.last >= last)
  }

  #addHole(hole: Hole): void {
    const last = this.#state.holes.at(-1)
    if (last !== undefined && last.reason === hole.reason && last.last + 1 === hole.first) {
      last.last = hole.last
    } else this.#state.holes.push(hole)
    this.holesVersion++
    writeStreamState(this.#options.directory, this.#state)
  }

  #remove(segment: Segment): void {
    unlinkSync(segment.path)
    this.#segments.splice(this.#segments.indexOf(segment), 1)
    this.#bytes -= segment.bytes
  }
}

/** Reads batches in order. To be closed. */
export class SpoolCursor {
  readonly #spool: Spool
  #wanted: number
  #reader: SegmentReader | undefined
  #path = ''

  constructor(spool: Spool, from: number) {
    this.#spool = spool
    this.#wanted = from
  }

  /** The next batch; undefined if there is none yet. Numbers that are passed over are declared holes. */
  next(): EventBatch | undefined {
    for (;;) {
      const segment = this.#spool.segmentFor(this.#wanted)
      if (segment === undefined) return undefined
      if (segment.path !== this.#path) this.#open(segment.path)
      const record = this.#reader?.next()
      if (record !== undefined) {
        this.#wanted = record.sequence + 1
        return EventBatch.decode(record.body)
      }
      const last = this.#spool.lastOf(this.#path)
      this.#spool.reportDamage(Math.max(this.#wanted, segment.first), last)
      this.#wanted = last + 1
    }
  }

  close(): void {
    this.#reader?.close()
    this.#reader = undefined
  }

  #open(path: string): void {
    this.close()
    this.#path = path
    this.#reader = this.#spool.open(path)
    this.#reader?.skipTo(this.#wanted)
  }
}
