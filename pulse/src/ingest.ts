/** IngestService: batches from agents, each stored once, acknowledged when it is committed. */
import { type CallContext, Status } from 'nice-grpc'
import type { Logger } from 'pino'
import { rpcError } from '../../common/grpc-error.js'
import { Compression } from '../../gen/cleartap/event/v1/compression.js'
import type {
  Credit,
  EventBatch,
  GetStreamPositionRequest,
  IngestHello,
  IngestRequest,
  IngestResponse,
  IngestServiceImplementation,
  IngestWelcome,
  PushBatchRequest,
  PushBatchResponse,
  StreamKey,
} from '../../gen/cleartap/pulse/v1/ingest.js'
import { type BatchAnswer, type BatchIntake, type Sender, senderOf } from './batch-intake.js'
import { StatementError } from './clickhouse/client.js'
import { Outbox } from './outbox.js'
import type { Stream, Streams } from './streams.js'

export interface IngestOptions {
  readonly streams: Streams
  readonly intake: BatchIntake
  readonly maxBatchBytes: number
  readonly maxInflightBatches: number
  readonly flushIntervalMs: number
  readonly log: Logger
}

const MAX_HOLES = 10_000
const DRAIN_SECONDS = 5n
/** What a stream may have under way, however small its batches. */
const MAX_INFLIGHT_BYTES = 32 * 1024 * 1024

export class IngestService implements IngestServiceImplementation {
  readonly #options: IngestOptions
  readonly #sessions = new Set<IngestSession>()

  constructor(options: IngestOptions) {
    this.#options = options
  }

  /** Streams that are open now. */
  get openStreams(): number {
    return this.#sessions.size
  }

  /** Asks all agents to come back later; open streams end when their agents leave. */
  drain(): void {
    for (const session of this.#sessions) session.drain()
  }

  async pushBatch(request: PushBatchRequest, context: CallContext): Promise<PushBatchResponse> {
    const { batch, hello } = request
    if (batch === undefined) throw badRequest('batch', 'expected a batch')
    const { stream, sender } = await this.#enter(hello, request.key ?? hello?.key)
    const answer = await this.#options.intake.take(stream, sender, batch, context.signal)
    const { committed, nack, ack } = answer
    await Promise.race([committed, aborted(context.signal)])
    return {
      ack: {
        committedThrough: stream.committedThrough,
        accepted: 0n,
        rejected: [],
        duplicates: 0n,
        rejectedOverflow: 0n,
        ...ack,
      },
      credit: this.#credit(),
      nack,
    }
  }

  async *ingest(
    requests: AsyncIterable<IngestRequest>,
    context: CallContext,
  ): AsyncGenerator<IngestResponse, void> {
    const session = new IngestSession(this.#options.maxInflightBatches)
    this.#sessions.add(session)
    // Not awaited at the end: it may wait for a request that comes no more. It ends with the call.
    void this.#read(session, requests, context.signal)
    try {
      yield* session.outbox.messages()
    } finally {
      session.abort.abort()
      this.#sessions.delete(session)
    }
  }

  async getStreamPosition(request: GetStreamPositionRequest): Promise<{ committedThrough: bigint }> {
    const key = checkKey(request.key)
    return { committedThrough: (await this.#stream(key)).committedThrough }
  }

  /** Never rejects: errors go to the agent through the outbox. */
  async #read(
    session: IngestSession,
    requests: AsyncIterable<IngestRequest>,
    call: AbortSignal,
  ): Promise<void> {
    const signal = AbortSignal.any([call, session.abort.signal])
    signal.addEventListener('abort', () => session.cancel(), { once: true })
    let stream: Stream | undefined
    let sender: Sender | undefined
    try {
      for await (const { message } of requests) {
        if (message?.$case === 'goodbye') break
        if (stream === undefined || sender === undefined) {
          if (message?.$case !== 'hello') throw badRequest('message', 'expected a hello first')
          ;({ stream, sender } = await this.#open(session, message.value))
        } else if (message?.$case === 'batch')
          await this.#takeBatch(session, stream, sender, message.value, signal)
        else throw badRequest('message', 'expected a batch or a goodbye')
      }
      await session.settled(signal)
      session.outbox.end()
    } catch (error) {
      session.outbox.end(toRefusal(error))
    } finally {
      stream?.release(session.abort)
    }
  }

  async #open(session: IngestSession, hello: IngestHello): Promise<{ stream: Stream; sender: Sender }> {
    const entered = await this.#enter(hello, hello.key)
    const fenced = rpcError(
      Status.ABORTED,
      'STREAM_TAKEN_OVER',
      'a newer connection of this stream has taken over',
    )
    entered.stream.own(session.abort, fenced)
    session.outbox.push({ $case: 'welcome', value: this.#welcome(entered.stream) })
    return entered
  }

  async #takeBatch(
    session: IngestSession,
    stream: Stream,
    sender: Sender,
    batch: EventBatch,
    signal: AbortSignal,
  ): Promise<void> {
    await session.slot(signal)
    const answer = await this.#options.intake.take(stream, sender, batch, signal)
    session.track(answer, stream)
    if (answer.nack) await session.outbox.nack(answer.nack)
  }

  /** Finds the stream and lets the sender in: epoch, holes, where it starts. */
  async #enter(
    hello: IngestHello | undefined,
    streamKey: StreamKey | undefined,
  ): Promise<{ stream: Stream; sender: Sender }> {
    const key = checkKey(streamKey)
    if (hello !== undefined) checkHello(hello)
    const stream = await this.#stream(key)
    if (!stream.enter(key.epoch)) {
      throw rpcError(Status.ABORTED, 'OLD_EPOCH', `epoch ${key.epoch} is older than ${stream.epoch}`, {
        metadata: { epoch: stream.epoch.toString() },
      })
    }
    if (hello !== undefined) {
      await answering(() => this.#options.streams.declareHoles(stream, hello.holes))
      stream.startAt(hello.firstAvailableSequence)
    }
    return { stream, sender: senderOf(key, hello) }
  }

  async #stream(key: StreamKey): Promise<Stream> {
    return await answering(() => this.#options.streams.get(key.streamId))
  }

  #welcome(stream: Stream): IngestWelcome {
    return {
      committedThrough: stream.committedThrough,
      credit: this.#credit(),
      flushInterval: { seconds: 0n, nanos: this.#options.flushIntervalMs * 1_000_000 },
      maxBatchBytes: this.#options.maxBatchBytes,
      compression: Compression.COMPRESSION_NONE,
      serverTimeUnixNano: BigInt(Date.now()) * 1_000_000n,
    }
  }

  #credit(): Credit {
    const { maxInflightBatches, maxBatchBytes } = this.#options
    return {
      maxInflightBatches,
      maxInflightBytes: BigInt(
        Math.min(maxInflightBatches * maxBatchBytes, Math.max(MAX_INFLIGHT_BYTES, maxBatchBytes)),
      ),
      minInterval: { seconds: 0n, nanos: 0 },
    }
  }
}

/** One open stream of an agent. */
class IngestSession {
  readonly outbox = new Outbox()
  readonly abort = new AbortController()
  readonly #maxInflight: number
  #inflight = 0
  #wake: (() => void) | undefined

  constructor(maxInflight: number) {
    this.#maxInflight = maxInflight
  }

  drain(): void {
    this.outbox.push({
      $case: 'drain',
      value: { reconnectAfter: { seconds: DRAIN_SECONDS, nanos: 0 }, fullJitter: true },
    })
  }

  /** The call is over, or another connection has the stream. */
  cancel(): void {
    this.outbox.end(this.abort.signal.reason)
    this.#wake?.()
  }

  /** Resolves when a batch may be taken: the credit, enforced. */
  async slot(signal: AbortSignal): Promise<void> {
    await this.#until(() => this.#inflight < this.#maxInflight, signal)
  }

  /** Resolves when everything taken is committed. */
  async settled(signal: AbortSignal): Promise<void> {
    await this.#until(() => this.#inflight === 0, signal)
  }

  /** Acknowledges when the batch is committed. */
  track(answer: BatchAnswer, stream: Stream): void {
    this.#inflight += 1
    void answer.committed.then(() => {
      this.#inflight -= 1
      this.outbox.ack(stream.committedThrough, answer.ack)
      this.#wake?.()
    })
  }

  async #until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    while (!condition()) {
      signal.throwIfAborted()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

function checkKey(key: StreamKey | undefined): StreamKey {
  if (key === undefined) throw badRequest('key', 'expected a stream key')
  if (key.streamId.length !== 16)
    throw badRequest('key.stream_id', `expected 16 bytes, got ${key.streamId.length}`)
  return key
}

function checkHello(hello: IngestHello): void {
  if (hello.agentId.length !== 16) {
    throw badRequest('hello.agent_id', `expected 16 bytes, got ${hello.agentId.length}`)
  }
  if (Buffer.byteLength(hello.host) > 255) throw badRequest('hello.host', 'expected at most 255 bytes')
  if (hello.holes.length > MAX_HOLES) throw badRequest('hello.holes', `expected at most ${MAX_HOLES}`)
  for (const hole of hello.holes) {
    if (hole.first < 1n || hole.last < hole.first || hole.last >= 1n << 63n) {
      throw badRequest('hello.holes', `expected 1 <= first <= last, got ${hole.first} to ${hole.last}`)
    }
  }
}

function badRequest(field: string, description: string): Error {
  return rpcError(Status.INVALID_ARGUMENT, 'INVALID_REQUEST', `${field}: ${description}`, {
    badRequest: [{ field, description }],
  })
}

/** The database's failure as an answer to the agent. */
async function answering<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    throw toRefusal(error)
  }
}

function toRefusal(error: unknown): unknown {
  if (!(error instanceof StatementError)) return error
  return rpcError(Status.UNAVAILABLE, 'CLICKHOUSE_UNAVAILABLE', 'the event store does not answer', {
    retryDelayMs: 500 + Math.random() * 1500,
  })
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = () => reject(signal.reason)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}
