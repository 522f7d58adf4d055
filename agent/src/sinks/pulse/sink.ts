/** Events to Pulse: a bounded queue, batches, a spool on disk, and a stream that delivers what is spooled. */
import { setTimeout as delay } from 'node:timers/promises'
import { type Channel, ChannelCredentials, createChannel } from 'nice-grpc'
import type { Logger } from 'pino'
import type { SinkConfig } from '../../../../common/config/schema.js'
import { createRpcClient } from '../../../../common/grpc-client.js'
import { describe, fail, type Span, SpanKind, spanned, traceparentOf } from '../../../../common/tracing.js'
import {
  IngestServiceDefinition,
  LossReason,
  type Rejected,
} from '../../../../gen/cleartap/pulse/v1/ingest.js'
import type { EventRecord, EventSink } from '../sink.js'
import { estimatedBytes, makeBatch } from './batch.js'
import { lockDirectory } from './directory-lock.js'
import { endSend } from './send-span.js'
import { type AgentIdentity, type DeliveryCounters, type InFlight, Session } from './session.js'
import { Spool, type SpoolStats } from './spool.js'

const SYNC_INTERVAL_MS = 1000
const LOG_INTERVAL_MS = 10_000
const MIN_BACKOFF_MS = 200
const MAX_BACKOFF_MS = 30_000
/** Payload before compression at which a batch is closed: far below what Pulse accepts. */
const MAX_BATCH_BYTES = 1024 * 1024

/** A connection that says nothing for half a minute is dead. */
const CHANNEL_OPTIONS = {
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.enable_retries': 0,
  // The sink waits with jitter itself; the channel's own two minutes would come on top.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
  'grpc.max_receive_message_length': 4 * 1024 * 1024,
}

export type PulseSinkConfig = Extract<SinkConfig, { type: 'pulse' }>

export interface PulseSinkDependencies {
  readonly identity: AgentIdentity
  /** Of the spool; made if absent. */
  readonly directory: string
  readonly log: Logger
}

/** Totals since the start; queue*, connected, spool and oldest* as of now. */
export interface PulseSinkStats extends DeliveryCounters {
  readonly events: number
  readonly queuedEvents: number
  readonly batches: number
  readonly droppedQueueFull: number
  /** Events that could not be written to the spool. */
  readonly droppedSpoolFailed: number
  readonly connected: boolean
  readonly sessions: number
  readonly failedSessions: number
  readonly spool: SpoolStats
  /** Time of the oldest event in flight, Unix epoch nanoseconds; 0: none. */
  readonly oldestInFlightUnixNano: bigint
}

export class PulseSink implements EventSink {
  readonly #config: PulseSinkConfig
  readonly #log: Logger
  readonly #identity: AgentIdentity
  readonly #unlock: () => void
  readonly #spool: Spool
  readonly #channel: Channel
  readonly #inFlight = new Map<number, InFlight>()
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  readonly #syncTimer: NodeJS.Timeout
  readonly #delivery: DeliveryCounters = {
    sentBatches: 0,
    ackedEvents: 0,
    rejectedEvents: 0,
    refusedBatches: 0,
    refusedEvents: 0,
    duplicates: 0,
  }
  #queue: EventRecord[] = []
  #queueHead = 0
  #drainScheduled = false
  #ageTimer: NodeJS.Timeout | undefined
  #session: Session | undefined
  #oldestUnacked = { sequence: 0, unixNano: 0n }
  #closed = false
  #events = 0
  #batches = 0
  #droppedQueueFull = 0
  #droppedSpoolFailed = 0
  /** Dropped since the latest batch, to be told with the next. */
  #untoldQueueFull = 0
  #untoldSpoolFailed = 0
  /** False from a failure until the next welcome. */
  #isReachable = true
  #rejectionLoggedAtMs = 0
  #sessions = 0
  #failedSessions = 0

  /** Opens the spool and begins to deliver. Throws if its directory cannot be used, or another process uses it. */
  constructor(config: PulseSinkConfig, dependencies: PulseSinkDependencies) {
    this.#config = config
    this.#log = dependencies.log
    this.#identity = dependencies.identity
    this.#unlock = lockDirectory(dependencies.directory)
    this.#spool = new Spool({
      directory: dependencies.directory,
      maxBytes: config.spool.max_bytes,
      segmentBytes: config.spool.segment_bytes,
    })
    this.#channel = createChannel(config.address, ChannelCredentials.createInsecure(), CHANNEL_OPTIONS)
    this.#running = this.#deliver()
    this.#syncTimer = setInterval(() => void this.#sync(), SYNC_INTERVAL_MS)
  }

  write(record: EventRecord): void {
    this.#events++
    if (this.#closed || this.#queuedEvents >= this.#config.max_queue_events) {
      this.#droppedQueueFull++
      this.#untoldQueueFull++
      return
    }
    this.#queue.push(record)
    if (this.#queuedEvents >= this.#config.max_batch_events) this.#scheduleDrain()
    else this.#ageTimer ??= setTimeout(() => this.#scheduleDrain(), this.#config.flush_interval_ms)
  }

  stats(): PulseSinkStats {
    return {
      ...this.#delivery,
      events: this.#events,
      queuedEvents: this.#queuedEvents,
      batches: this.#batches,
      droppedQueueFull: this.#droppedQueueFull,
      droppedSpoolFailed: this.#droppedSpoolFailed,
      connected: this.#session?.isWelcomed ?? false,
      sessions: this.#sessions,
      failedSessions: this.#failedSessions,
      spool: this.#spool.stats(),
      oldestInFlightUnixNano: this.#inFlight.values().next().value?.firstUnixNano ?? 0n,
    }
  }

  /**
   * Age of the oldest event that Pulse has not stored, sent or not; 0: none. Reads its batch from the spool once
   * for as long as it stays the oldest.
   */
  exportLagSeconds(): number {
    const oldest = this.#spool.ackedThrough + 1
    if (this.#closed || oldest >= this.#spool.nextSequence) return 0
    if (this.#oldestUnacked.sequence !== oldest) {
      const cursor = this.#spool.read(oldest)
      this.#oldestUnacked = { sequence: oldest, unixNano: cursor.next()?.firstUnixNano ?? 0n }
      cursor.close()
    }
    const { unixNano } = this.#oldestUnacked
    return unixNano === 0n ? 0 : Math.max(0, Date.now() / 1000 - Number(unixNano) / 1e9)
  }

  async close(graceMs: number): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const deadline = Date.now() + graceMs
    clearTimeout(this.#ageTimer)
    while (this.#queuedEvents > 0) this.#makeOneBatch()
    while (this.#isDelivering() && Date.now() < deadline) await delay(10)
    this.#stop.abort()
    this.#session?.close()
    await Promise.race([
      this.#running,
      delay(Math.max(100, deadline - Date.now()), undefined, { ref: false }),
    ])
    this.#channel.close()
    clearInterval(this.#syncTimer)
    for (const { span } of this.#inFlight.values()) endSend(span, 'unanswered')
    this.#spool.close()
    this.#unlock()
  }

  get #queuedEvents(): number {
    return this.#queue.length - this.#queueHead
  }

  /** Something is on its way, and Pulse answers as far as is known. */
  #isDelivering(): boolean {
    return this.#isReachable && this.#spool.ackedThrough + 1 < this.#spool.nextSequence
  }

  #scheduleDrain(): void {
    clearTimeout(this.#ageTimer)
    this.#ageTimer = undefined
    if (this.#drainScheduled) return
    this.#drainScheduled = true
    setImmediate(() => {
      this.#drainScheduled = false
      this.#drain()
    })
  }

  /** A batch a turn of the event loop: whoever brings events comes in between. */
  #drain(): void {
    if (this.#closed || this.#queuedEvents === 0) return
    this.#makeOneBatch()
    if (this.#queuedEvents >= this.#config.max_batch_events) this.#scheduleDrain()
    else if (this.#queuedEvents > 0) {
      this.#ageTimer ??= setTimeout(() => this.#scheduleDrain(), this.#config.flush_interval_ms)
    }
  }

  #makeOneBatch(): void {
    spanned('agent batch', { kind: SpanKind.PRODUCER }, (span) => this.#encodeAndSpool(this.#take(), span))
  }

  #encodeAndSpool(records: readonly EventRecord[], span: Span): void {
    const gaps = [
      { reason: LossReason.LOSS_REASON_QUEUE_FULL, events: BigInt(this.#untoldQueueFull) },
      { reason: LossReason.LOSS_REASON_SPOOL_FULL, events: BigInt(this.#untoldSpoolFailed) },
    ].filter(({ events }) => events > 0n)
    try {
      const batch = spanned('agent encode', {}, () => makeBatch(records, gaps))
      describe(span, { 'cleartap.events': records.length, 'cleartap.bytes': batch.payload.length })
      const traceparent = traceparentOf(span)
      spanned('agent spool', {}, () =>
        this.#spool.append((sequence) => ({ ...batch, sequence: BigInt(sequence), traceparent })),
      )
      this.#batches++
      this.#untoldQueueFull = 0
      this.#untoldSpoolFailed = 0
      this.#session?.notify()
    } catch (error) {
      fail(span)
      describe(span, { 'cleartap.outcome': 'spool_failed' })
      if (this.#untoldSpoolFailed === 0) this.#log.error({ error }, 'cannot write to the spool')
      this.#droppedSpoolFailed += records.length
      this.#untoldSpoolFailed += records.length
    }
  }

  #take(): EventRecord[] {
    let end = this.#queueHead
    let bytes = 0
    const limit = Math.min(this.#queue.length, this.#queueHead + this.#config.max_batch_events)
    while (end < limit && bytes < MAX_BATCH_BYTES) {
      const record = this.#queue[end]
      if (record !== undefined) bytes += estimatedBytes(record)
      end++
    }
    const records = this.#queue.slice(this.#queueHead, end)
    if (end === this.#queue.length) {
      this.#queue = []
      this.#queueHead = 0
    } else if (end > this.#queue.length / 2) {
      this.#queue = this.#queue.slice(end)
      this.#queueHead = 0
    } else {
      this.#queueHead = end
    }
    return records
  }

  async #deliver(): Promise<void> {
    const client = createRpcClient(IngestServiceDefinition, this.#channel)
    let failures = 0
    while (!this.#stop.signal.aborted) {
      let waitMs: number
      const session = new Session({
        client,
        spool: this.#spool,
        identity: this.#identity,
        counters: this.#delivery,
        inFlight: this.#inFlight,
        onWelcome: () => {
          failures = 0
          this.#isReachable = true
          this.#sessions++
          this.#log.info({ address: this.#config.address }, 'connected to Pulse')
        },
        onRejected: (rejected) => this.#logRejected(rejected),
        onNack: (nack) => {
          const { sequence, status, quarantine } = nack
          this.#log.error(
            { sequence: Number(sequence), reason: status?.message, quarantine },
            'batch refused',
          )
        },
      })
      this.#session = session
      try {
        const end = await session.run()
        waitMs = Math.max(end.waitMs, backoffMs(end.reason === 'closed' ? failures++ : 0))
      } catch (error) {
        this.#failedSessions++
        this.#isReachable = false
        waitMs = backoffMs(failures++)
        if (failures === 1) this.#log.warn({ error, address: this.#config.address }, 'lost Pulse')
      }
      this.#session = undefined
      await delay(waitMs, undefined, { signal: this.#stop.signal }).catch(() => {})
    }
  }

  #logRejected({ reason, field }: Rejected): void {
    const nowMs = Date.now()
    if (nowMs - this.#rejectionLoggedAtMs < LOG_INTERVAL_MS) return
    this.#rejectionLoggedAtMs = nowMs
    const total = this.#delivery.rejectedEvents
    this.#log.warn({ reason, field, total }, 'Pulse did not store an event')
  }

  async #sync(): Promise<void> {
    try {
      await this.#spool.sync()
    } catch (error) {
      this.#log.error({ error }, 'cannot sync the spool')
    }
  }
}

/** Full jitter: agents that lost Pulse together do not come back together. */
function backoffMs(failures: number): number {
  return Math.random() * Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** failures)
}
