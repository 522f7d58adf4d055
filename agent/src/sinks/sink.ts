/** Where events go. */
import type { Event, Process } from '../../../gen/cleartap/event/v1/event.js'

/** An event with the process that it names; the sink sets Event.process. */
export interface EventRecord {
  readonly event: Event
  readonly process: Process
}

export interface EventSink {
  /** Takes an event without waiting. A full queue drops it and counts it: capture never blocks. */
  write(record: EventRecord): void
  /** Waits until everything taken is delivered or on disk, at most graceMs milliseconds, then releases everything. */
  close(graceMs: number): Promise<void>
}
