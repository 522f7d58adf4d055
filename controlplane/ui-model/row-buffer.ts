/** The rows that the page holds: bounded, newest first, frozen while somebody reads. */
import type { Request } from '../../gen/cleartap/pulse/v1/query.js'
import { formatUuid } from './format.js'

/** A request under the id that addresses, keys and lookups use. */
export interface Row {
  /** UUID text of the event. */
  readonly id: string
  readonly timeUnixNano: bigint
  readonly request: Request
}

/** The row of a request; undefined if it has no event. */
export function toRow(request: Request): Row | undefined {
  if (request.event === undefined) return undefined
  return { id: formatUuid(request.event.eventId), timeUnixNano: request.event.timeUnixNano, request }
}

/**
 * Holds at most maxRows rows, shown and waiting together; beyond that the oldest go and are counted.
 * While frozen, new rows wait unseen, so that nothing moves under the reader.
 */
export class RowBuffer {
  readonly #maxRows: number
  readonly #ids = new Set<string>()
  #shown: readonly Row[] = []
  #waiting: Row[] = []
  #frozen = false
  #droppedRows = 0

  constructor(maxRows: number) {
    this.#maxRows = maxRows
  }

  /** Newest first. A new array after each change. */
  get shown(): readonly Row[] {
    return this.#shown
  }

  get waitingCount(): number {
    return this.#waiting.length
  }

  /** Rows let go to keep the bound, since the last clear. */
  get droppedRows(): number {
    return this.#droppedRows
  }

  get isFull(): boolean {
    return this.#ids.size >= this.#maxRows
  }

  /** Takes rows of the tail, in any order; rows already held are passed over. */
  add(rows: readonly Row[]): void {
    const fresh = this.#unseen(rows)
    if (fresh.length === 0) return
    if (this.#frozen) this.#waiting.push(...fresh)
    else this.#shown = mergeNewestFirst(this.#shown, fresh)
    this.#trim()
  }

  /** Takes rows of a list page: shown at once, even while frozen, as they were asked for. */
  addPage(rows: readonly Row[]): void {
    const fresh = this.#unseen(rows)
    this.#shown = mergeNewestFirst(this.#shown, fresh)
    this.#trim()
  }

  setFrozen(frozen: boolean): void {
    this.#frozen = frozen
    if (!frozen) this.release()
  }

  /** Shows what waits. */
  release(): void {
    if (this.#waiting.length === 0) return
    this.#shown = mergeNewestFirst(this.#shown, this.#waiting)
    this.#waiting = []
  }

  clear(): void {
    this.#ids.clear()
    this.#shown = []
    this.#waiting = []
    this.#droppedRows = 0
  }

  #unseen(rows: readonly Row[]): Row[] {
    return rows.filter((row) => {
      if (this.#ids.has(row.id)) return false
      this.#ids.add(row.id)
      return true
    })
  }

  #trim(): void {
    const excess = this.#ids.size - this.#maxRows
    if (excess <= 0) return
    const kept = Math.max(0, this.#shown.length - excess)
    const gone = [
      ...this.#shown.slice(kept),
      ...this.#waiting.splice(0, excess - (this.#shown.length - kept)),
    ]
    this.#shown = this.#shown.slice(0, kept)
    for (const row of gone) this.#ids.delete(row.id)
    this.#droppedRows += gone.length
  }
}

/** Merges rows of any order into rows that are newest first; equal times keep the newcomer on top. */
function mergeNewestFirst(rows: readonly Row[], fresh: readonly Row[]): readonly Row[] {
  if (fresh.length === 0) return rows
  const sorted = fresh.toSorted((a, b) => compareNano(b.timeUnixNano, a.timeUnixNano))
  const merged: Row[] = []
  let next = 0
  for (const row of sorted) {
    for (
      let held = rows[next];
      held !== undefined && held.timeUnixNano > row.timeUnixNano;
      held = rows[next]
    ) {
      merged.push(held)
      next += 1
    }
    merged.push(row)
  }
  return merged.concat(rows.slice(next))
}

function compareNano(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}
