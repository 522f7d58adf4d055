/** A Pulse on 127.0.0.1 that keeps what it is sent and answers as a test tells it. Used by the test of the sink. */
import { zstdDecompressSync } from 'node:zlib'
import { createServer, type Server, ServerError, Status } from 'nice-grpc'
import { Events } from '../../../../gen/cleartap/event/v1/event.js'
import {
  type EventBatch,
  type IngestHello,
  type IngestRequest,
  type IngestResponse,
  IngestServiceDefinition,
} from '../../../../gen/cleartap/pulse/v1/ingest.js'

/** What is done with a batch besides keeping it. */
export type Answer = 'ack' | 'silence' | 'drop' | 'nack' | 'drain' | 'ack_twice' | 'ack_back' | 'ack_far'

export class ScriptedPulse {
  readonly hellos: IngestHello[] = []
  /** In the order of arrival, those that came again included. */
  readonly batches: EventBatch[] = []
  goodbyes = 0
  committedThrough = 0n
  credit = { maxInflightBatches: 4, maxInflightBytes: 1n << 20n }
  answer: (batch: EventBatch) => Answer = () => 'ack'
  port = 0
  #server: Server | undefined
  #grant: () => void = () => {}

  async start(): Promise<void> {
    const server = createServer()
    server.add(IngestServiceDefinition, {
      pushBatch: async () => {
        throw new ServerError(Status.UNIMPLEMENTED, 'only the stream is scripted')
      },
      getStreamPosition: async () => ({ committedThrough: this.committedThrough }),
      ingest: (requests) => this.#ingest(requests),
    })
    this.port = await server.listen(`127.0.0.1:${this.port}`)
    this.#server = server
  }

  stop(): void {
    this.#server?.forceShutdown()
    this.#server = undefined
  }

  /** The next answer to a batch may come. Used with a credit of 0 at the welcome. */
  grantCredit(): void {
    this.credit = { maxInflightBatches: 4, maxInflightBytes: 1n << 20n }
    this.#grant()
  }

  /** Numbers in order of arrival. */
  sequences(): number[] {
    return this.batches.map(({ sequence }) => Number(sequence))
  }

  /** Event ids of all batches, each batch once, in the order of the numbers. */
  eventIds(): string[] {
    const bySequence = new Map(this.batches.map((batch) => [batch.sequence, batch]))
    return [...bySequence.values()]
      .sort((a, b) => Number(a.sequence - b.sequence))
      .flatMap((batch) => decode(batch).events.map(({ eventId }) => eventId.toString('hex')))
  }

  async *#ingest(requests: AsyncIterable<IngestRequest>): AsyncGenerator<IngestResponse> {
    for await (const { message } of requests) {
      switch (message?.$case) {
        case 'hello':
          this.#onHello(message.value)
          yield respond({ $case: 'welcome', value: this.#welcome() })
          if (this.credit.maxInflightBatches === 0) {
            await new Promise<void>((resolve) => {
              this.#grant = resolve
            })
            yield respond({ $case: 'credit', value: { ...this.credit, minInterval: undefined } })
          }
          break
        case 'batch':
          this.batches.push(message.value)
          yield* this.#answer(message.value)
          break
        default:
          this.goodbyes++
          return
      }
    }
  }

  #onHello(hello: IngestHello): void {
    this.hellos.push(hello)
    for (const hole of [...hello.holes].sort((a, b) => Number(a.first - b.first))) {
      if (hole.first <= this.committedThrough + 1n && hole.last > this.committedThrough) {
        this.committedThrough = hole.last
      }
    }
  }

  #welcome() {
    return {
      committedThrough: this.committedThrough,
      credit: { ...this.credit, minInterval: undefined },
      flushInterval: undefined,
      maxBatchBytes: 4 << 20,
      compression: 0 as const,
      serverTimeUnixNano: 0n,
    }
  }

  *#answer(batch: EventBatch): Generator<IngestResponse> {
    const { sequence } = batch
    const answer = this.answer(batch)
    if (answer === 'drop') throw new ServerError(Status.UNAVAILABLE, 'dropped by the script')
    if (answer === 'silence') return
    if (sequence === this.committedThrough + 1n) this.committedThrough = sequence
    if (answer === 'drain') {
      yield ack(this.committedThrough)
      yield respond({ $case: 'drain', value: { reconnectAfter: undefined, fullJitter: true } })
    } else if (answer === 'nack') {
      const status = { code: Status.INVALID_ARGUMENT, message: 'by the script', details: [] }
      yield respond({ $case: 'nack', value: { sequence, status, quarantine: true } })
      yield ack(this.committedThrough)
    } else if (answer === 'ack_far') yield ack(1_000_000n)
    else {
      yield ack(this.committedThrough)
      if (answer === 'ack_twice') yield ack(this.committedThrough)
      if (answer === 'ack_back') yield ack(1n)
    }
  }
}

export function decode(batch: EventBatch): Events {
  return Events.decode(zstdDecompressSync(batch.payload))
}

function ack(committedThrough: bigint): IngestResponse {
  const value = { committedThrough, accepted: 0n, rejected: [], duplicates: 0n, rejectedOverflow: 0n }
  return respond({ $case: 'ack', value })
}

function respond(message: NonNullable<IngestResponse['message']>): IngestResponse {
  return { message }
}
