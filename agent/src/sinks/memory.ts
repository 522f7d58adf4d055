/** Events kept in memory, for tests and for reading back. */
import type { EventRecord, EventSink } from './sink.js'

/** Holds the latest `maxEvents` events; older ones are dropped and counted. */
export class MemorySink implements EventSink {
  readonly records: EventRecord[] = []
  dropped = 0
  readonly #maxEvents: number

  constructor(maxEvents: number) {
    this.#maxEvents = maxEvents
  }

  write(record: EventRecord): void {
    if (this.records.push(record) <= this.#maxEvents) return
    this.records.shift()
    this.dropped++
  }

  async close(_graceMs: number): Promise<void> {}
}
