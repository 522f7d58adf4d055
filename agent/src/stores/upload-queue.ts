/** Makes a store of something that writes one object: bounded, concurrent, retrying, each content once. */
import { setTimeout as delay } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import {
  type BacklogLimits,
  maxEventWaitMs,
  type ObjectRole,
  type RefusalReason,
  refusalOf,
} from './backlog.js'
import type { ObjectStore, PutOutcome, StoredObject } from './store.js'

const MAX_ATTEMPTS = 6
const MIN_BACKOFF_MS = 200
const MAX_BACKOFF_MS = 10_000
/** Keys that are known to be stored: about 20 MiB of memory when full. */
const MAX_REMEMBERED_KEYS = 100_000
/** What waiting costs besides the bytes: many small objects count too. */
const JOB_BYTES = 1024

/** What writing an object led to. */
export type WriteOutcome =
  | { readonly kind: 'stored' }
  | { readonly kind: 'retryable'; readonly error: Error }
  | { readonly kind: 'refused'; readonly error: Error }

export interface ObjectWriter {
  /**
   * Writes an object as a whole: it is seen under its key only once all bytes are there.
   * @param signal Aborted when nobody waits any more: what can be broken off is.
   */
  write(
    object: StoredObject,
    contentType: string,
    chunks: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<WriteOutcome>
  close(): void
}

export interface UploadQueueOptions extends BacklogLimits {
  readonly name: string
  readonly maxConcurrent: number
  /** Monotonic clock; absent: performance.now. */
  readonly nowMs?: () => number
}

/** Totals since the start; queued* as of now. */
export interface UploadStats {
  readonly queuedObjects: number
  readonly queuedBytes: number
  /** Age of the oldest object whose write has not begun; 0 if none waits. */
  readonly oldestWaitingMs: number
  readonly storedObjects: number
  readonly storedBytes: number
  /** Not written because the same content was, or was just being written. */
  readonly deduplicated: number
  /** Not taken, by reason. */
  readonly dropped: Readonly<Record<RefusalReason, number>>
  /** Not stored after retries, or refused by the store for good. */
  readonly failed: number
  /** Not stored by the end of the grace that close() gave. */
  readonly givenUp: number
  /** Of failed and givenUp: objects that events name, since these could not wait. */
  readonly failedNamed: number
  readonly retries: number
}

interface Job {
  readonly object: StoredObject
  readonly contentType: string
  readonly chunks: readonly Uint8Array[]
  readonly putAtMs: number
  /** What put() gave; resolved as underway before done if that takes long. */
  readonly answer: PromiseWithResolvers<PutOutcome>
  /** Resolved when the object's fate is known. */
  readonly done: PromiseWithResolvers<void>
  readonly eventTimer: NodeJS.Timeout
}

export class UploadQueue implements ObjectStore {
  readonly name: string
  readonly #writer: ObjectWriter
  readonly #options: UploadQueueOptions
  readonly #stored = new LRUCache<string, true>({ max: MAX_REMEMBERED_KEYS })
  /** Waiting or being written, by key. */
  readonly #pending = new Map<string, Job>()
  readonly #waiting: Job[] = []
  readonly #closing = new AbortController()
  readonly #givingUp = new AbortController()
  readonly #nowMs: () => number
  readonly #dropped = { queue_full: 0, behind_body: 0, behind_headers: 0, closed: 0 }
  /** Waiting or being written, already named by an event. */
  readonly #named = new Set<Job>()
  #running = 0
  #queuedBytes = 0
  #storedObjects = 0
  #storedBytes = 0
  #deduplicated = 0
  #failed = 0
  #givenUp = 0
  #failedNamed = 0
  #retries = 0

  constructor(writer: ObjectWriter, options: UploadQueueOptions) {
    this.name = options.name
    this.#writer = writer
    this.#options = options
    this.#nowMs = options.nowMs ?? (() => performance.now())
  }

  put(
    object: StoredObject,
    contentType: string,
    chunks: readonly Uint8Array[],
    role: ObjectRole = 'body',
  ): Promise<PutOutcome> {
    const pending = this.#pending.get(object.key)
    if (pending !== undefined || this.#stored.get(object.key) === true) {
      this.#deduplicated++
      return pending?.answer.promise ?? Promise.resolve('stored')
    }
    const refusal = this.#refusalOf(object, role)
    if (refusal !== undefined) {
      this.#dropped[refusal]++
      return Promise.reject(new Error(`store ${this.name}: object not taken: ${refusal}`))
    }
    const job = this.#jobOf(object, contentType, chunks)
    this.#pending.set(object.key, job)
    this.#queuedBytes += costOf(object)
    this.#waiting.push(job)
    this.#startWaiting()
    return job.answer.promise
  }

  stats(): UploadStats {
    return {
      queuedObjects: this.#pending.size,
      queuedBytes: this.#queuedBytes,
      storedObjects: this.#storedObjects,
      storedBytes: this.#storedBytes,
      deduplicated: this.#deduplicated,
      oldestWaitingMs: this.#oldestWaitingMs(),
      dropped: { ...this.#dropped },
      failed: this.#failed,
      givenUp: this.#givenUp,
      failedNamed: this.#failedNamed,
      retries: this.#retries,
    }
  }

  /** What is being retried gets one more try. */
  async close(graceMs: number): Promise<void> {
    this.#closing.abort()
    const settled = new AbortController()
    const fates = Promise.all(Array.from(this.#pending.values(), ({ done }) => done.promise))
    await Promise.race([fates, delay(graceMs, undefined, { signal: settled.signal }).catch(() => {})])
    settled.abort()
    this.#waiting.length = 0
    this.#givingUp.abort()
    for (const job of this.#pending.values()) {
      this.#givenUp++
      this.#fail(job, new Error(`store ${this.name}: closed before ${job.object.key} was stored`))
    }
    this.#writer.close()
  }

  #refusalOf(object: StoredObject, role: ObjectRole): RefusalReason | undefined {
    if (this.#closing.signal.aborted) return 'closed'
    const backlog = { queuedBytes: this.#queuedBytes, oldestWaitingMs: this.#oldestWaitingMs() }
    return refusalOf(role, costOf(object), backlog, this.#options)
  }

  #oldestWaitingMs(): number {
    const [oldest] = this.#waiting
    return oldest === undefined ? 0 : this.#nowMs() - oldest.putAtMs
  }

  #jobOf(object: StoredObject, contentType: string, chunks: readonly Uint8Array[]): Job {
    const job: Job = {
      object,
      contentType,
      chunks,
      putAtMs: this.#nowMs(),
      answer: Promise.withResolvers(),
      done: Promise.withResolvers(),
      eventTimer: setTimeout(() => {
        this.#named.add(job)
        job.answer.resolve('underway')
      }, maxEventWaitMs(this.#options)),
    }
    return job
  }

  #startWaiting(): void {
    while (this.#running < this.#options.maxConcurrent) {
      const job = this.#waiting.shift()
      if (job === undefined) return
      this.#running++
      void this.#run(job)
    }
  }

  async #run(job: Job): Promise<void> {
    const { object } = job
    const error = await this.#write(job)
    this.#running--
    // Otherwise close() has given it up meanwhile.
    if (this.#pending.get(object.key) === job) {
      if (error === undefined) {
        this.#storedObjects++
        this.#storedBytes += object.size
        this.#stored.set(object.key, true)
        job.answer.resolve('stored')
        this.#settle(job)
      } else {
        this.#failed++
        this.#fail(job, error)
      }
    }
    this.#startWaiting()
  }

  #fail(job: Job, error: Error): void {
    if (this.#named.has(job)) this.#failedNamed++
    job.answer.reject(error)
    this.#settle(job)
  }

  #settle(job: Job): void {
    clearTimeout(job.eventTimer)
    this.#named.delete(job)
    this.#pending.delete(job.object.key)
    this.#queuedBytes -= costOf(job.object)
    job.done.resolve()
  }

  /** Returns the error if the object will not be stored. */
  async #write({ object, contentType, chunks }: Job): Promise<Error | undefined> {
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt >= MAX_ATTEMPTS || this.#closing.signal.aborted
      const outcome = await this.#writer.write(object, contentType, chunks, this.#givingUp.signal)
      if (outcome.kind === 'stored') return undefined
      if (outcome.kind === 'refused' || isLast) return outcome.error
      this.#retries++
      const waitMs = Math.random() * Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** attempt)
      await delay(waitMs, undefined, { signal: this.#closing.signal }).catch(() => {})
    }
  }
}

function costOf(object: StoredObject): number {
  return object.size + JOB_BYTES
}
