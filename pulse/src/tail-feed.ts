/** Committed blocks as requests for live readers, each with a bounded queue of its own. */
import { Events } from '../../gen/cleartap/event/v1/event.js'
import type { Block, BlockBatch } from './clickhouse/block.js'
import { evaluate, type Predicate } from './filter.js'
import { viewOf } from './request-fields.js'
import type { Position, StoredRequest } from './tables/requests.js'
import { timestampFromMicros, uuidText } from './tables/values.js'

/** What a reader takes next. */
export type FeedItem =
  | { readonly kind: 'request'; readonly stored: StoredRequest }
  /** Matching requests that were left out; `after` is the position of the last one before them. */
  | { readonly kind: 'dropped'; readonly count: bigint; readonly after: Position }
  /** Nothing for a while; `position` is how far the feed is. */
  | { readonly kind: 'idle'; readonly position: Position }

const MAX_QUEUED = 2000

/** Fans committed blocks out to subscriptions. */
export class TailFeed {
  readonly #subscriptions = new Set<Subscription>()
  readonly #onDropped: (count: number) => void
  #position: Position

  /** `startMicros`: the latest ingested_at in the database. */
  constructor(startMicros: bigint, onDropped: (count: number) => void) {
    this.#position = blockEnd(startMicros)
    this.#onDropped = onDropped
  }

  get readers(): number {
    return this.#subscriptions.size
  }

  /** Everything up to here was published. */
  get position(): Position {
    return this.#position
  }

  /** Starts a subscription with the next block. Close it. */
  subscribe(filter: Predicate, maxPerSecond: number): Subscription {
    const subscription = new Subscription(filter, maxPerSecond, this.#position, {
      onDropped: this.#onDropped,
      onClose: (closed) => this.#subscriptions.delete(closed),
    })
    this.#subscriptions.add(subscription)
    return subscription
  }

  /** Publishes a committed block. Blocks come in the order of ingested_at. */
  publish(block: Block): void {
    this.#position = blockEnd(block.ingestedAtMicros)
    if (this.#subscriptions.size === 0) return
    for (const stored of requestsOf(block)) {
      for (const subscription of this.#subscriptions) subscription.offer(stored)
    }
    for (const subscription of this.#subscriptions) subscription.advance(this.#position)
  }
}

interface SubscriptionEvents {
  readonly onDropped: (count: number) => void
  readonly onClose: (subscription: Subscription) => void
}

export class Subscription {
  readonly #filter: Predicate
  readonly #rate: RateLimit
  readonly #events: SubscriptionEvents
  readonly #queue: StoredRequest[] = []
  #dropped = 0n
  /** Position of the last request before those dropped, or of what was taken last. */
  #last: Position
  #reached: Position
  #wake: (() => void) | undefined

  constructor(filter: Predicate, maxPerSecond: number, position: Position, events: SubscriptionEvents) {
    this.#filter = filter
    this.#rate = new RateLimit(maxPerSecond)
    this.#last = position
    this.#reached = position
    this.#events = events
  }

  /** Queues a matching request, or counts it as dropped. */
  offer(stored: StoredRequest): void {
    const view = viewOf(stored.request)
    if (view === undefined || !evaluate(this.#filter, view)) return
    if (this.#dropped > 0n || this.#queue.length >= MAX_QUEUED || !this.#rate.take()) {
      this.#dropped += 1n
      this.#events.onDropped(1)
      return
    }
    this.#queue.push(stored)
    this.#wake?.()
  }

  /** All of a block was offered. */
  advance(position: Position): void {
    this.#reached = position
    if (this.#dropped > 0n) this.#wake?.()
  }

  /** The next item; idle after idleMs without one, or when the signal is aborted. */
  async take(idleMs: number, signal: AbortSignal): Promise<FeedItem> {
    if (this.#queue.length === 0 && this.#dropped === 0n && !signal.aborted) await this.#wait(idleMs, signal)
    const stored = this.#queue.shift()
    if (stored !== undefined) {
      this.#last = stored.position
      return { kind: 'request', stored }
    }
    if (this.#dropped > 0n) {
      const count = this.#dropped
      this.#dropped = 0n
      return { kind: 'dropped', count, after: this.#last }
    }
    this.#last = this.#reached
    return { kind: 'idle', position: this.#reached }
  }

  close(): void {
    this.#events.onClose(this)
  }

  async #wait(idleMs: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, idleMs)
      signal.addEventListener('abort', done)
      this.#wake = done
      function done() {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
    })
    this.#wake = undefined
  }
}

/** At most `perSecond` in a second, without bursts above that. */
class RateLimit {
  readonly #perSecond: number
  #windowStartedMs = 0
  #taken = 0

  constructor(perSecond: number) {
    this.#perSecond = perSecond
  }

  take(): boolean {
    const now = performance.now()
    if (now - this.#windowStartedMs >= 1000) {
      this.#windowStartedMs = now
      this.#taken = 0
    }
    if (this.#taken >= this.#perSecond) return false
    this.#taken += 1
    return true
  }
}

/** After everything of a block. */
function blockEnd(ingestedAtMicros: bigint): Position {
  return { ingestedAtMicros, streamId: 'f'.repeat(32), sequence: (1n << 63n) - 1n, batchIndex: 0xffff_ffff }
}

/** A block's requests in the order of their positions. */
function* requestsOf(block: Block): Generator<StoredRequest> {
  const batches = block.batches
    .map((batch) => ({ batch, streamId: Buffer.from(batch.streamId).toString('hex') }))
    .sort((a, b) =>
      a.streamId === b.streamId
        ? Number(a.batch.sequence - b.batch.sequence)
        : a.streamId < b.streamId
          ? -1
          : 1,
    )
  for (const { batch, streamId } of batches) yield* requestsOfBatch(batch, streamId, block.ingestedAtMicros)
}

function* requestsOfBatch(
  batch: BlockBatch,
  streamId: string,
  ingestedAtMicros: bigint,
): Generator<StoredRequest> {
  if (batch.payload === undefined) return
  const { events, processes } = Events.decode(batch.payload)
  const agentId = uuidText(Buffer.from(batch.agentId).toString('hex'))
  const ingestedAt = timestampFromMicros(ingestedAtMicros)
  const refused = new Set(batch.refused)
  for (const [batchIndex, event] of events.entries()) {
    const process = processes[event.process]
    if (event.kind?.$case !== 'httpRequest' || process === undefined || refused.has(batchIndex)) continue
    yield {
      request: { event: { ...event, process: 0 }, process, agentId, host: batch.agentHost, ingestedAt },
      position: { ingestedAtMicros, streamId, sequence: batch.sequence, batchIndex },
    }
  }
}
