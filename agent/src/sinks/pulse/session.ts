/** One Ingest stream: hello, then batches within the credit, until the stream ends. */
import { setTimeout as delay } from 'node:timers/promises'
import { type Span, traceparentOf } from '../../../../common/tracing.js'
import { Compression } from '../../../../gen/cleartap/event/v1/compression.js'
import {
  type Ack,
  type Credit,
  type EventBatch,
  type IngestRequest,
  type IngestResponse,
  type IngestServiceClient,
  type IngestWelcome,
  LossReason,
  type Nack,
  type Rejected,
} from '../../../../gen/cleartap/pulse/v1/ingest.js'
import type { Duration } from '../../../../gen/google/protobuf/duration.js'
import { endSend, startSend } from './send-span.js'
import type { Spool, SpoolCursor } from './spool.js'
import type { Hole } from './stream-state.js'

/** How long Pulse may take to answer the hello. */
const WELCOME_TIMEOUT_MS = 15_000
/** How long the last acks and the end of the stream may take after a goodbye. */
const GOODBYE_TIMEOUT_MS = 2000
/** However much Pulse allows. */
const MAX_IN_FLIGHT_BATCHES = 1000

const HOLE_REASON = {
  unused_numbers: LossReason.LOSS_REASON_UNUSED_NUMBERS,
  spool_full: LossReason.LOSS_REASON_SPOOL_FULL,
  spool_corrupt: LossReason.LOSS_REASON_SPOOL_CORRUPT,
} as const satisfies Record<Hole['reason'], LossReason>

export interface AgentIdentity {
  /** UUIDv7, 16 bytes. */
  readonly agentId: Uint8Array
  readonly version: string
  readonly host: string
}

/** Totals over all sessions. */
export interface DeliveryCounters {
  sentBatches: number
  ackedEvents: number
  /** Single events that Pulse did not store, and whole batches refused for good. */
  rejectedEvents: number
  refusedBatches: number
  refusedEvents: number
  /** Batches that Pulse had already. */
  duplicates: number
}

export interface SessionOptions {
  readonly client: IngestServiceClient
  readonly spool: Spool
  readonly identity: AgentIdentity
  readonly counters: DeliveryCounters
  /** Sent and not yet acknowledged, oldest first; kept from session to session. */
  readonly inFlight: Map<number, InFlight>
  onWelcome(welcome: IngestWelcome): void
  /** The first of the events of a batch that were not stored. */
  onRejected(rejected: Rejected): void
  onNack(nack: Nack, batch: InFlight | undefined): void
}

export interface InFlight {
  readonly bytes: number
  readonly events: number
  readonly firstUnixNano: bigint
  /** From its being sent to its being settled. */
  readonly span: Span
}

/** Why a session ended without an error; the next may wait for `waitMs`. */
export interface SessionEnd {
  readonly reason: 'closed' | 'drained' | 'holes'
  readonly waitMs: number
}

export class Session {
  readonly #options: SessionOptions
  readonly #abort = new AbortController()
  #credit = { batches: 0, bytes: 0, minIntervalMs: 0 }
  #sent = new Set<number>()
  #sentBytes = 0
  #welcomed = false
  #holesTold = 0
  #end: SessionEnd | undefined
  #wake: () => void = () => {}

  constructor(options: SessionOptions) {
    this.#options = options
  }

  get isWelcomed(): boolean {
    return this.#welcomed
  }

  /** Something was appended to the spool. */
  notify(): void {
    this.#wake()
  }

  /** Says goodbye and ends. */
  close(): void {
    this.#finish({ reason: 'closed', waitMs: 0 })
  }

  /** Runs until the stream ends. Throws the gRPC error if it ends with one. */
  async run(): Promise<SessionEnd> {
    const timeout = setTimeout(() => {
      if (!this.#welcomed) this.#abort.abort()
    }, WELCOME_TIMEOUT_MS)
    try {
      const responses = this.#options.client.ingest(this.#requests(), { signal: this.#abort.signal })
      for await (const response of responses) this.#onResponse(response)
      return this.#end ?? { reason: 'closed', waitMs: 0 }
    } catch (error) {
      if (this.#end !== undefined) return this.#end
      throw error
    } finally {
      clearTimeout(timeout)
      this.#finish({ reason: 'closed', waitMs: 0 })
      this.#abort.abort()
    }
  }

  async *#requests(): AsyncGenerator<IngestRequest> {
    yield { message: { $case: 'hello', value: this.#hello() } }
    let cursor: SpoolCursor | undefined
    try {
      while (this.#end === undefined) {
        if (!this.#welcomed) {
          await this.#woken()
          continue
        }
        if (this.#options.spool.holesVersion !== this.#holesTold) {
          // Holes are told in a hello only.
          this.#finish({ reason: 'holes', waitMs: 0 })
          break
        }
        cursor ??= this.#options.spool.read(this.#options.spool.ackedThrough + 1)
        const batch = this.#hasCredit() ? cursor.next() : undefined
        if (this.#options.spool.holesVersion !== this.#holesTold) continue
        if (batch === undefined) {
          await this.#woken()
          continue
        }
        const traceparent = traceparentOf(this.#note(batch))
        yield { message: { $case: 'batch', value: { ...batch, traceparent } } }
        if (this.#credit.minIntervalMs > 0) await delay(this.#credit.minIntervalMs)
      }
      yield { message: { $case: 'goodbye', value: { reason: this.#end?.reason ?? '' } } }
    } finally {
      cursor?.close()
    }
  }

  #hello(): Extract<NonNullable<IngestRequest['message']>, { $case: 'hello' }>['value'] {
    const { spool, identity } = this.#options
    this.#holesTold = spool.holesVersion
    return {
      key: { streamId: spool.streamId, epoch: BigInt(spool.epoch) },
      agentVersion: identity.version,
      host: identity.host,
      agentId: Buffer.from(identity.agentId),
      acceptCompression: [Compression.COMPRESSION_ZSTD],
      firstAvailableSequence: BigInt(spool.firstAvailable),
      nextSequence: BigInt(spool.nextSequence),
      spoolBytes: BigInt(spool.bytes),
      clientTimeUnixNano: BigInt(Date.now()) * 1_000_000n,
      holes: spool.holes.map(({ first, last, reason }) => ({
        first: BigInt(first),
        last: BigInt(last),
        reason: HOLE_REASON[reason],
      })),
    }
  }

  #hasCredit(): boolean {
    // One batch may always go, or a batch above the byte credit would stand for ever.
    if (this.#credit.batches > 0 && this.#sent.size === 0) return true
    return this.#sent.size < this.#credit.batches && this.#sentBytes < this.#credit.bytes
  }

  #note(batch: EventBatch): Span {
    const sequence = Number(batch.sequence)
    const { payload, eventCount, firstUnixNano } = batch
    const { inFlight, counters } = this.#options
    const earlier = inFlight.get(sequence)
    if (earlier !== undefined) endSend(earlier.span, 'resent')
    const span = startSend(batch)
    this.#sent.add(sequence)
    this.#sentBytes += payload.length
    inFlight.set(sequence, { bytes: payload.length, events: eventCount, firstUnixNano, span })
    counters.sentBatches++
    return span
  }

  #onResponse(response: IngestResponse): void {
    const { message } = response
    switch (message?.$case) {
      case 'welcome':
        this.#onWelcome(message.value)
        break
      case 'ack':
        this.#onAck(message.value)
        break
      case 'credit':
        this.#onCredit(message.value)
        break
      case 'nack':
        this.#onNack(message.value)
        break
      case 'drain': {
        const waitMs = milliseconds(message.value.reconnectAfter)
        const jittered = message.value.fullJitter ? Math.random() * waitMs : waitMs
        this.#finish({ reason: 'drained', waitMs: jittered })
        break
      }
      case undefined:
        break
    }
  }

  #onWelcome(welcome: IngestWelcome): void {
    this.#welcomed = true
    const committedThrough = Number(welcome.committedThrough)
    this.#options.spool.skipPast(committedThrough)
    this.#options.spool.declareMissing(committedThrough)
    this.#ackThrough(committedThrough)
    if (welcome.credit !== undefined) this.#onCredit(welcome.credit)
    this.#options.onWelcome(welcome)
    this.#wake()
  }

  #onAck(ack: Ack): void {
    const { counters } = this.#options
    counters.rejectedEvents += ack.rejected.length + Number(ack.rejectedOverflow)
    counters.duplicates += Number(ack.duplicates)
    const [first] = ack.rejected
    if (first !== undefined) this.#options.onRejected(first)
    this.#ackThrough(Number(ack.committedThrough))
  }

  #ackThrough(through: number): void {
    const { spool, inFlight, counters } = this.#options
    if (through >= spool.nextSequence) {
      // Believing it would delete what Pulse has not seen. The next welcome says what is right.
      throw new Error(
        `Pulse acknowledged ${through}, but ${spool.nextSequence - 1} is the latest that was sent`,
      )
    }
    for (const [sequence, { events }] of inFlight) {
      if (sequence > through) break
      counters.ackedEvents += events
      this.#settle(sequence, 'acked')
    }
    spool.ack(through)
    this.#wake()
  }

  /** A refused batch is passed over by Pulse: the next ack covers it, and the spool lets it go with that. */
  #onNack(nack: Nack): void {
    const { counters, inFlight } = this.#options
    const sequence = Number(nack.sequence)
    const batch = inFlight.get(sequence)
    counters.refusedBatches++
    counters.refusedEvents += batch?.events ?? 0
    this.#settle(sequence, 'nacked')
    this.#options.onNack(nack, batch)
    this.#wake()
  }

  #settle(sequence: number, outcome: 'acked' | 'nacked'): void {
    const batch = this.#options.inFlight.get(sequence)
    this.#options.inFlight.delete(sequence)
    if (batch !== undefined) endSend(batch.span, outcome)
    if (this.#sent.delete(sequence)) this.#sentBytes -= batch?.bytes ?? 0
  }

  #onCredit(credit: Credit): void {
    this.#credit = {
      batches: Math.min(credit.maxInflightBatches, MAX_IN_FLIGHT_BATCHES),
      bytes: Number(credit.maxInflightBytes),
      minIntervalMs: milliseconds(credit.minInterval),
    }
    this.#wake()
  }

  #finish(end: SessionEnd): void {
    if (this.#end === undefined) {
      this.#end = end
      setTimeout(() => this.#abort.abort(), GOODBYE_TIMEOUT_MS).unref()
    }
    this.#wake()
  }

  async #woken(): Promise<void> {
    if (this.#end !== undefined) return
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
  }
}

function milliseconds(duration: Duration | undefined): number {
  if (duration === undefined) return 0
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6
}
