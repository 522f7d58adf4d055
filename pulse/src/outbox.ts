/** What a stream's reader has to say to the agent, until the agent takes it. Acks merge, so it stays small. */
import type { Ack, IngestResponse, Nack, Rejected } from '../../gen/cleartap/pulse/v1/ingest.js'
import { MAX_NAMED_REJECTIONS } from './tables/encode-batch.js'

type ResponseMessage = NonNullable<IngestResponse['message']>

/** Nacks that may wait; more must wait before they are added. */
const MAX_WAITING_NACKS = 100

export class Outbox {
  #ack: Ack | undefined
  readonly #others: ResponseMessage[] = []
  #nacks = 0
  #ended = false
  #error: unknown
  #wake: (() => void) | undefined
  #taken: (() => void) | undefined

  /** Adds to the ack that waits, if any. */
  ack(committedThrough: bigint, part: Partial<Omit<Ack, 'committedThrough'>>): void {
    const before = this.#ack
    const all: Rejected[] = [...(before?.rejected ?? []), ...(part.rejected ?? [])]
    const rejected = all.slice(0, MAX_NAMED_REJECTIONS)
    const overflow = BigInt(all.length - rejected.length)
    this.#ack = {
      committedThrough,
      accepted: (before?.accepted ?? 0n) + (part.accepted ?? 0n),
      duplicates: (before?.duplicates ?? 0n) + (part.duplicates ?? 0n),
      rejected,
      rejectedOverflow: (before?.rejectedOverflow ?? 0n) + (part.rejectedOverflow ?? 0n) + overflow,
    }
    this.#wake?.()
  }

  /** Waits while too many nacks wait. */
  async nack(nack: Nack): Promise<void> {
    while (this.#nacks >= MAX_WAITING_NACKS && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#taken = resolve
      })
    }
    this.#nacks += 1
    this.push({ $case: 'nack', value: nack })
  }

  /** Adds a message that comes a few times in a stream's life. */
  push(message: ResponseMessage): void {
    this.#others.push(message)
    this.#wake?.()
  }

  /** Nothing more will come. With an error, messages() throws it. */
  end(error?: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    this.#wake?.()
    this.#taken?.()
  }

  /** The messages as they come, until end(). */
  async *messages(): AsyncGenerator<IngestResponse, void> {
    for (;;) {
      const message = this.#next()
      if (message !== undefined) yield { message }
      else if (this.#ended) {
        if (this.#error !== undefined) throw this.#error
        return
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        this.#wake = undefined
      }
    }
  }

  #next(): ResponseMessage | undefined {
    const other = this.#others.shift()
    if (other !== undefined) {
      if (other.$case === 'nack') {
        this.#nacks -= 1
        this.#taken?.()
      }
      return other
    }
    const ack = this.#ack
    this.#ack = undefined
    return ack && { $case: 'ack', value: ack }
  }
}
