/** Events as lines: JSON for programs, text for people. */
import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { JsonLines } from './json-line.js'
import type { EventRecord, EventSink } from './sink.js'
import { formatText } from './text-line.js'

/** Bytes waiting for a slow reader; more lines are dropped and counted. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024
/** Characters written at once: a write of its own for each line costs more than making the line. */
const CHUNK_CHARACTERS = 64 * 1024

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
  readonly #json = new JsonLines()
  /** Lines of this turn of the event loop. */
  #lines = ''
  #isFlushDue = false
  #written = 0
  #dropped = 0

  constructor(options: StdoutSinkOptions) {
    this.#options = options
  }

  write(record: EventRecord): void {
    const line =
      this.#options.format === 'json' ? this.#json.format(record) : formatText(record, this.#options.colour)
    if (line === undefined) return
    if (this.#options.output.writableLength > MAX_WAITING_BYTES) {
      this.#dropped++
      return
    }
    this.#written++
    this.#lines += `${line}\n`
    if (this.#lines.length >= CHUNK_CHARACTERS) this.#flush()
    else if (!this.#isFlushDue) {
      this.#isFlushDue = true
      setImmediate(() => this.#flush())
    }
  }

  stats(): StdoutSinkStats {
    return { written: this.#written, dropped: this.#dropped }
  }

  async close(graceMs: number): Promise<void> {
    const { output } = this.#options
    this.#flush()
    if (output.writableLength === 0 || output.destroyed) return
    const written = new Promise<void>((resolve) => {
      output.write('', () => resolve())
    })
    await Promise.race([written, delay(graceMs, undefined, { ref: false })])
  }

  #flush(): void {
    this.#isFlushDue = false
    if (this.#lines === '') return
    const lines = this.#lines
    this.#lines = ''
    this.#options.output.write(lines)
  }
}
