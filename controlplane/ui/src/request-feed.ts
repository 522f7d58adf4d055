/** The table's data: pages of the list and the live tail, merged into one bounded buffer. */
import type { Request } from '../../../gen/cleartap/pulse/v1/query.js'
import type { RequestFilter } from '../../ui-model/filter.js'
import { reasonOf } from '../../ui-model/problem.js'
import { type Row, RowBuffer, toRow } from '../../ui-model/row-buffer.js'
import { listRequests } from './api.js'
import { followTail, type TailState } from './tail.js'

/** Rows that the page holds, shown and waiting. */
const MAX_ROWS = 10_000
/** How often the table is drawn anew while requests stream in. */
const DRAW_INTERVAL_MS = 100
/** The list is not held up longer than this by a tail that does not open. */
const TAIL_HEAD_START_MS = 1000

export interface FeedSnapshot {
  readonly rows: readonly Row[]
  /** Rows that arrived while the table was frozen. */
  readonly waiting: number
  /** Rows let go to keep the bound. */
  readonly letGo: number
  /** Events that the server did not send to this page. */
  readonly missed: bigint
  readonly paused: boolean
  readonly tail: TailState
  readonly loading: boolean
  /** Why the list could not be read. */
  readonly listError: string | undefined
  readonly hasOlder: boolean
  /** True once the first page is there, or was cleared away. */
  readonly settled: boolean
}

/** What the feed knows beside its rows. */
type FeedState = Pick<FeedSnapshot, 'paused' | 'tail' | 'loading' | 'listError' | 'settled'>

/** One filter's worth of rows. Start it once, stop it once. */
export class RequestFeed {
  readonly #filter: RequestFilter
  readonly #buffer = new RowBuffer(MAX_ROWS)
  readonly #stopped = new AbortController()
  readonly #listeners = new Set<() => void>()
  #snapshot: FeedSnapshot
  #drawTimer: ReturnType<typeof setTimeout> | undefined
  #olderToken = ''
  #isScrolled = false
  #missed = 0n
  #state: FeedState = {
    paused: false,
    tail: { kind: 'connecting' },
    loading: true,
    listError: undefined,
    settled: false,
  }

  constructor(filter: RequestFilter) {
    this.#filter = filter
    this.#snapshot = this.#draw()
  }

  /** Opens the tail first and the list after it, so that no request falls between the two. */
  start(): void {
    const opened = Promise.withResolvers<void>()
    setTimeout(opened.resolve, TAIL_HEAD_START_MS)
    void opened.promise.then(() => this.#loadFirstPage())
    let starts = 0
    const listener = {
      onState: (tail: TailState) => this.#set({ tail }),
      onRequests: (requests: readonly Request[]) => {
        this.#buffer.add(toRows(requests))
        this.#drawSoon()
      },
      onMissed: (count: bigint) => {
        this.#missed += count
        this.#drawSoon()
      },
      onRestart: () => {
        starts += 1
        if (starts === 1) opened.resolve()
        else void this.#loadFirstPage()
      },
    }
    void followTail(this.#filter, listener, this.#stopped.signal)
  }

  stop(): void {
    this.#stopped.abort()
    clearTimeout(this.#drawTimer)
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  readonly getSnapshot = (): FeedSnapshot => this.#snapshot

  setPaused(paused: boolean): void {
    this.#state = { ...this.#state, paused }
    this.#freeze()
  }

  /** Rows must not move while the reader is away from the top. */
  setScrolled(scrolled: boolean): void {
    if (this.#isScrolled === scrolled) return
    this.#isScrolled = scrolled
    this.#freeze()
  }

  /** Shows what waits, without ending a pause. */
  release(): void {
    this.#buffer.release()
    this.#redraw()
  }

  /** Empties the table; what comes from now on is shown. */
  clear(): void {
    this.#buffer.clear()
    this.#olderToken = ''
    this.#missed = 0n
    this.#set({ settled: true, listError: undefined })
  }

  /** Reads the next page of older rows, unless one is being read or the buffer is full. */
  loadOlder(): void {
    if (this.#state.loading || this.#olderToken === '' || this.#buffer.isFull) return
    void this.#loadPage(this.#olderToken)
  }

  retryList(): void {
    if (!this.#state.loading) void this.#loadPage(this.#olderToken)
  }

  async #loadFirstPage(): Promise<void> {
    await this.#loadPage('')
  }

  async #loadPage(pageToken: string): Promise<void> {
    this.#set({ loading: true, listError: undefined })
    try {
      const page = await listRequests(this.#filter, pageToken, this.#stopped.signal)
      this.#buffer.addPage(toRows(page.requests))
      this.#olderToken = page.nextPageToken
      this.#set({ loading: false, settled: true })
    } catch (error) {
      if (!this.#stopped.signal.aborted) this.#set({ loading: false, listError: reasonOf(error) })
    }
  }

  #freeze(): void {
    this.#buffer.setFrozen(this.#state.paused || this.#isScrolled)
    this.#redraw()
  }

  #set(change: Partial<FeedState>): void {
    this.#state = { ...this.#state, ...change }
    this.#redraw()
  }

  #drawSoon(): void {
    this.#drawTimer ??= setTimeout(() => this.#redraw(), DRAW_INTERVAL_MS)
  }

  #redraw(): void {
    clearTimeout(this.#drawTimer)
    this.#drawTimer = undefined
    this.#snapshot = this.#draw()
    for (const listener of this.#listeners) listener()
  }

  #draw(): FeedSnapshot {
    return {
      ...this.#state,
      rows: this.#buffer.shown,
      waiting: this.#buffer.waitingCount,
      letGo: this.#buffer.droppedRows,
      missed: this.#missed,
      hasOlder: this.#olderToken !== '' && !this.#buffer.isFull,
    }
  }
}

function toRows(requests: readonly Request[]): readonly Row[] {
  return requests.map(toRow).filter((row) => row !== undefined)
}
