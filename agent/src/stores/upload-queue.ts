/** Makes a store of something that writes one object: bounded, concurrent, retrying, each content once. */
import { setTimeout as delay } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { ObjectStore, StoredObject } from './store.js'

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
  /** Writes an object as a whole: it is seen under its key only once all bytes are there. */
  write(object: StoredObject, contentType: string, chunks: readonly Uint8Array[]): Promise<WriteOutcome>
  close(): void
}

export interface UploadQueueOptions {
  readonly name: string
  readonly maxConcurrent: number
  /** Of objects waiting or being written, each with what it costs besides; more are refused at once. */
  readonly maxQueueBytes: number
}

/** Totals since the start; queued* as of now. */
export interface UploadStats {
  readonly queuedObjects: number
  readonly queuedBytes: number
  readonly storedObjects: number
  readonly storedBytes: number
  /** Not written because the same content was, or was just being written. */
  readonly deduplicated: number
  /** Refused because the queue was full. */
  readonly dropped: number
  /** Given up after retries, or refused by the store for good. */
  readonly failed: number
  readonly retries: number
}

interface Job {
  readonly object: StoredObject
  readonly contentType: string
  readonly chunks: readonly Uint8Array[]
  readonly done: PromiseWithResolvers<void>
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
  #running = 0
  #queuedBytes = 0
  #storedObjects = 0
  #storedBytes = 0
  #deduplicated = 0
  #dropped = 0
  #failed = 0
  #retries = 0

  constructor(writer: ObjectWriter, options: UploadQueueOptions) {
    this.name = options.name
    this.#writer = writer
    this.#options = options
  }

  put(object: StoredObject, contentType: string, chunks: readonly Uint8Array[]): Promise<void> {
    const pending = this.#pending.get(object.key)
    if (pending !== undefined || this.#stored.get(object.key) === true) {
      this.#deduplicated++
      return pending?.done.promise ?? Promise.resolve()
    }
    if (this.#closing.signal.aborted || this.#queuedBytes + costOf(object) > this.#options.maxQueueBytes) {
      this.#dropped++
      return Promise.reject(new Error(`store ${this.name}: the queue is full or closed`))
    }
    const job: Job = { object, contentType, chunks, done: Promise.withResolvers() }
    this.#pending.set(object.key, job)
    this.#queuedBytes += costOf(object)
    this.#waiting.push(job)
    this.#startWaiting()
    return job.done.promise
  }

  stats(): UploadStats {
    return {
      queuedObjects: this.#pending.size,
      queuedBytes: this.#queuedBytes,
      storedObjects: this.#storedObjects,
      storedBytes: this.#storedBytes,
      deduplicated: this.#deduplicated,
      dropped: this.#dropped,
      failed: this.#failed,
      retries: this.#retries,
    }
  }

  /** What is being retried gets one more try. */
  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.allSettled(Array.from(this.#pending.values(), ({ done }) => done.promise))
    this.#writer.close()
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
    const { object, done } = job
    const error = await this.#write(job)
    this.#running--
    this.#pending.delete(object.key)
    this.#queuedBytes -= costOf(object)
    if (error === undefined) {
      this.#storedObjects++
      this.#storedBytes += object.size
      this.#stored.set(object.key, true)
      done.resolve()
    } else {
      this.#failed++
      done.reject(error)
    }
    this.#startWaiting()
  }

  /** Returns the error if the object will not be stored. */
  async #write({ object, contentType, chunks }: Job): Promise<Error | undefined> {
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt >= MAX_ATTEMPTS || this.#closing.signal.aborted
      const outcome = await this.#writer.write(object, contentType, chunks)
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
