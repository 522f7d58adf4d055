/** Keeps exchanges: decides what of each becomes an object, and sends its event. */
import type { Logger } from 'pino'
import type { CaptureConfig } from '../../../common/config/schema.js'
import type { Artifact } from '../exchange/artifact.js'
import { type ArtifactContent, artifactsOf } from '../exchange/artifacts.js'
import type { Exchange } from '../exchange/exchange.js'
import type { EventMaker } from '../exchange/to-event.js'
import type { EventSink } from '../sinks/sink.js'
import type { ObjectStore } from '../stores/store.js'

/** Exchanges whose objects are being stored; beyond that events go without references, and are counted. */
const MAX_WAITING_EXCHANGES = 20_000
const LOG_INTERVAL_MS = 10_000

export interface HttpCaptureOptions {
  readonly level: CaptureConfig['level']
  /** AgentConfig.org. */
  readonly org: string
  /** Undefined: events only. */
  readonly store: ObjectStore | undefined
  readonly sink: EventSink
  readonly maker: EventMaker
  readonly log: Logger
}

/** Totals since the start; waiting as of now. */
export interface HttpCaptureStats {
  readonly exchanges: number
  readonly artifactsStored: number
  /** Named by events before they were stored: see stores/backlog.ts. */
  readonly artifactsUnderway: number
  /** References left out of events because the object was not stored. */
  readonly artifactsFailed: number
  readonly waiting: number
}

/**
 * An event is written once the fate of all its objects is known, and names those that are stored: who reads
 * an event finds what it names. What a store that is behind has not stored in time is named as well. Without
 * objects an event is written at once.
 */
export class HttpCapture {
  readonly #options: HttpCaptureOptions
  readonly #waiting = new Set<Promise<void>>()
  #level: CaptureConfig['level']
  #exchanges = 0
  #artifactsStored = 0
  #artifactsUnderway = 0
  #artifactsFailed = 0
  #loggedAtMs = 0

  constructor(options: HttpCaptureOptions) {
    this.#options = options
    this.#level = options.level
  }

  /** For exchanges from now on. */
  setLevel(level: CaptureConfig['level']): void {
    this.#level = level
  }

  onExchange(exchange: Exchange): void {
    this.#exchanges++
    const { store, org } = this.#options
    if (store === undefined || this.#level === 'metadata') {
      this.#write(exchange, [])
      return
    }
    const contents = artifactsOf(exchange, this.#level, org)
    if (this.#waiting.size >= MAX_WAITING_EXCHANGES) {
      this.#artifactsFailed += contents.length
      this.#write(exchange, [])
      return
    }
    const stored = this.#store(exchange, contents, store).finally(() => this.#waiting.delete(stored))
    this.#waiting.add(stored)
  }

  /** Resolves when the events of all exchanges so far are written: at once if the store is closed. */
  async drain(): Promise<void> {
    await Promise.allSettled(this.#waiting)
    if (this.#artifactsFailed === 0) return
    this.#options.log.warn({ failed: this.#artifactsFailed }, 'objects were not stored, since the start')
  }

  stats(): HttpCaptureStats {
    return {
      exchanges: this.#exchanges,
      artifactsStored: this.#artifactsStored,
      artifactsUnderway: this.#artifactsUnderway,
      artifactsFailed: this.#artifactsFailed,
      waiting: this.#waiting.size,
    }
  }

  async #store(exchange: Exchange, contents: readonly ArtifactContent[], store: ObjectStore): Promise<void> {
    const results = await Promise.allSettled(
      contents.map(({ kind, object, contentType, chunks }) =>
        store.put(object, contentType, chunks, kind === 'http_headers' ? 'headers' : 'body'),
      ),
    )
    const artifacts: Artifact[] = []
    contents.forEach(({ kind, object, truncated, contentType }, index) => {
      const result = results[index]
      if (result?.status === 'fulfilled') {
        if (result.value === 'stored') this.#artifactsStored++
        else this.#artifactsUnderway++
        artifacts.push({ kind, object, truncated, contentType, store: store.name })
      } else this.#countFailure(result?.reason)
    })
    this.#write(exchange, artifacts)
  }

  #write(exchange: Exchange, artifacts: readonly Artifact[]): void {
    const { sink, maker } = this.#options
    switch (exchange.kind) {
      case 'http':
        sink.write(maker.fromHttp(exchange, artifacts))
        break
    }
  }

  #countFailure(reason: unknown): void {
    this.#artifactsFailed++
    const nowMs = Date.now()
    if (nowMs - this.#loggedAtMs < LOG_INTERVAL_MS) return
    this.#loggedAtMs = nowMs
    this.#options.log.warn({ error: reason, failed: this.#artifactsFailed }, 'an object was not stored')
  }
}
