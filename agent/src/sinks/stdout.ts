/** Events as lines: JSON for programs, text for people. */
import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { Event, Process } from '../../../gen/cleartap/event/v1/event.js'
import type { EventRecord, EventSink } from './sink.js'
import { formatText } from './text-line.js'

/** Bytes waiting for a slow reader; more lines are dropped and counted. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024

export interface StdoutSinkOptions {
  readonly format: 'text' | 'json'
  readonly output: Writable
  /** Only for text. */
  readonly colour: boolean
}

export interface StdoutSinkStats {
  readonly written: number
  readonly dropped: number
}

/**
 * A line an event. JSON is {"event": …, "process": …}, each as proto JSON of cleartap.event.v1, by which it
 * stays readable for old readers as the messages grow; text shows exchanges only.
 */
export class StdoutSink implements EventSink {
  readonly #options: StdoutSinkOptions
  #written = 0
  #dropped = 0

  constructor(options: StdoutSinkOptions) {
    this.#options = options
  }

  write(record: EventRecord): void {
    const line =
      this.#options.format === 'json' ? formatJson(record) : formatText(record, this.#options.colour)
    if (line === undefined) return
    if (this.#options.output.writableLength > MAX_WAITING_BYTES) {
      this.#dropped++
      return
    }
    this.#written++
    this.#options.output.write(`${line}\n`)
  }

  stats(): StdoutSinkStats {
    return { written: this.#written, dropped: this.#dropped }
  }

  async close(graceMs: number): Promise<void> {
    const { output } = this.#options
    if (output.writableLength === 0 || output.destroyed) return
    const written = new Promise<void>((resolve) => {
      output.write('', () => resolve())
    })
    await Promise.race([written, delay(graceMs, undefined, { ref: false })])
  }
}

function formatJson(record: EventRecord): string {
  return JSON.stringify({ event: Event.toJSON(record.event), process: Process.toJSON(record.process) })
}
