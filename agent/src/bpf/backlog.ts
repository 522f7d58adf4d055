/** Control events that wait until the data ring has been read as far as it was filled when they were seen. */
import type { ProcessInfo } from '../exchange/exchange.js'
import type { CloseEvent, ExecEvent, ExitEvent, LossEvent, SocketEvent } from './events.js'
import type { Stream } from './streams.js'

/** A process becomes another program while it has streams: data of the old program may be unread. */
export interface PendingExec {
  readonly kind: 'exec'
  readonly event: ExecEvent
  /** What the process is from then on. */
  readonly info: ProcessInfo
  /** Streams of the old program. */
  readonly streams: readonly Stream[]
}

/** Sockets wait only behind an exec of their process. */
export type PendingEvent =
  | { readonly kind: 'other'; readonly event: CloseEvent | ExitEvent | LossEvent | SocketEvent }
  | PendingExec

interface Entry {
  readonly pending: PendingEvent
  readonly afterPosition: number
}

/** In the order of the control ring. As long as what the data ring has seen end since it was read. */
export class Backlog {
  #entries: Entry[] = []
  /** By pid: what the process will be after the last of its execs here. */
  readonly #execs = new Map<number, ProcessInfo>()

  /** Takes an event in; it is due when the data ring has been read to afterPosition. */
  push(pending: PendingEvent, afterPosition: number): void {
    this.#entries.push({ pending, afterPosition })
    if (pending.kind === 'exec') this.#execs.set(pending.info.pid, pending.info)
  }

  /** What the process will be when its execs have been taken; undefined if none waits. */
  nextImage(pid: number): ProcessInfo | undefined {
    return this.#execs.size === 0 ? undefined : this.#execs.get(pid)
  }

  /** What is due now that the data ring has been read to position. */
  takeRead(position: number): PendingEvent[] {
    if (this.#entries.length === 0) return []
    const waiting = this.#entries.findIndex(({ afterPosition }) => afterPosition > position)
    return this.#taken(this.#entries.splice(0, waiting < 0 ? this.#entries.length : waiting))
  }

  /**
   * What is due before data that the process handed over at timeNs: a process has one program at a time, so all data
   * of those before has been read. The ends of the present program's streams wait on.
   */
  takeReplaced(pid: number, timeNs: bigint): PendingEvent[] {
    const own = this.#entries.filter(({ pending }) => pending.event.process.pid === pid)
    const isExec = ({ pending }: Entry): boolean => pending.kind === 'exec'
    const next = own.findIndex((entry) => isExec(entry) && entry.pending.event.timeNs > timeNs)
    const past = next < 0 ? own : own.slice(0, next)
    const last = past.findLastIndex(isExec)
    const due = new Set(past.filter((entry, at) => at <= last || entry.pending.event.kind === 'socket'))
    if (due.size > 0) this.#entries = this.#entries.filter((entry) => !due.has(entry))
    return this.#taken([...due])
  }

  #taken(entries: readonly Entry[]): PendingEvent[] {
    for (const { pending } of entries)
      if (pending.kind === 'exec' && this.#execs.get(pending.info.pid) === pending.info)
        this.#execs.delete(pending.info.pid)
    return entries.map(({ pending }) => pending)
  }
}
