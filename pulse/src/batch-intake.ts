/** Takes one batch: checks its place in the stream, inflates it, turns it into rows of the open block. */
import { Status } from 'nice-grpc'
import type { Logger } from 'pino'
import { rpcError } from '../../common/grpc-error.js'
import {
  contextOf,
  describe,
  fail,
  fromTraceparent,
  type Span,
  SpanKind,
  spanned,
  startSpan,
} from '../../common/tracing.js'
import type { Ack, EventBatch, IngestHello, Nack, StreamKey } from '../../gen/cleartap/pulse/v1/ingest.js'
import { readPayload } from './batch-payload.js'
import type { BlockWriter } from './clickhouse/writer.js'
import type { DeadLetters } from './dead-letters.js'
import type { Stream, Streams } from './streams.js'
import { BatchEncoder, type EncodedBatch } from './tables/encode-batch.js'
import { MalformedError } from './tables/wire.js'

/** Who sends. */
export interface Sender {
  readonly epoch: bigint
  /** 16 bytes; zeros if the sender did not say. */
  readonly agentId: Uint8Array
  readonly host: string
}

export function senderOf(key: StreamKey, hello: IngestHello | undefined): Sender {
  return { epoch: key.epoch, agentId: hello?.agentId ?? new Uint8Array(16), host: hello?.host ?? '' }
}

export interface BatchAnswer {
  /** Resolves when the batch is committed; never rejects, and never resolves if Pulse ends before. */
  readonly committed: Promise<void>
  /** What the ack says about this batch. */
  readonly ack: Partial<Omit<Ack, 'committedThrough'>>
  readonly nack: Nack | undefined
}

export interface BatchIntakeOptions {
  readonly org: string
  readonly streams: Streams
  readonly writer: BlockWriter
  readonly deadLetters: DeadLetters
  readonly maxBatchBytes: number
  readonly maxInflatedBytes: number
  readonly log: Logger
  /** Counts what was taken. Must not throw. */
  readonly onBatch: (outcome: 'accepted' | 'duplicate' | 'quarantined', encoded?: EncodedBatch) => void
}

type TracedBatch = EventBatch & { readonly span: Span }

/** Rows of a batch, or why it will never have any. */
type Encoding =
  | { readonly ok: true; readonly encoded: EncodedBatch; readonly payload: Uint8Array }
  | { readonly ok: false; readonly reason: string }

export class BatchIntake {
  readonly #options: BatchIntakeOptions
  readonly #encoder = new BatchEncoder()
  /** Duplicates that wait for the commit of the batch that came first. */
  readonly #waiting = new Map<Stream, { sequence: bigint; resolve: () => void }[]>()

  constructor(options: BatchIntakeOptions) {
    this.#options = options
  }

  /** Throws RpcError for a batch out of place; waits while the store is behind. */
  async take(stream: Stream, sender: Sender, batch: EventBatch, signal: AbortSignal): Promise<BatchAnswer> {
    const span = startBatchSpan(batch)
    try {
      const answer = await this.#take(stream, sender, { ...batch, span }, signal)
      void answer.committed.then(() => span.end())
      return answer
    } catch (error) {
      fail(span)
      span.end()
      throw error
    }
  }

  async #take(stream: Stream, sender: Sender, batch: TracedBatch, signal: AbortSignal): Promise<BatchAnswer> {
    const { maxBatchBytes, maxInflatedBytes, writer } = this.#options
    if (batch.payload.length > maxBatchBytes) {
      throw rpcError(
        Status.RESOURCE_EXHAUSTED,
        'BATCH_TOO_LARGE',
        `a payload has at most ${maxBatchBytes} bytes, got ${batch.payload.length}`,
      )
    }
    if (batch.sequence <= stream.acceptedThrough) return this.#duplicate(stream, batch)
    const inContext = { parent: contextOf(batch.span) }
    const payload = spanned('pulse inflate', inContext, () => readPayload(batch, maxInflatedBytes))
    if (!payload.ok) return await this.#quarantine(stream, sender, batch, payload.reason, signal)
    await writer.room(signal)
    if (batch.sequence <= stream.acceptedThrough) return this.#duplicate(stream, batch)
    checkPlace(stream, batch.sequence)
    const encoding = spanned('pulse decode', inContext, () =>
      this.#encode(stream, sender, batch, payload.bytes),
    )
    if (!encoding.ok) return await this.#quarantine(stream, sender, batch, encoding.reason, signal)
    const { encoded } = encoding
    const committed = this.#add(stream, sender, batch, encoded, payload.bytes)
    this.#options.onBatch('accepted', encoded)
    describe(batch.span, {
      'cleartap.outcome': 'accepted',
      'cleartap.inflated_bytes': payload.bytes.length,
      'cleartap.accepted': encoded.accepted,
      'cleartap.rejected': encoded.events - encoded.accepted,
    })
    return {
      committed,
      ack: {
        accepted: BigInt(encoded.accepted),
        rejected: [...encoded.rejected],
        rejectedOverflow: BigInt(encoded.rejectedOverflow),
      },
      nack: undefined,
    }
  }

  #encode(stream: Stream, sender: Sender, batch: EventBatch, payload: Uint8Array): Encoding {
    const { writer, streams, org } = this.#options
    const block = writer.block()
    const context = {
      org,
      ingestedAtMicros: block.ingestedAtMicros,
      streamId: stream.id,
      sequence: batch.sequence,
      agentId: sender.agentId,
      agentHost: sender.host,
    }
    const stored = streams.storedTables(stream, batch.sequence)
    try {
      const encoded = this.#encoder.encode(payload, batch.eventCount, context, block.rows, stored)
      return { ok: true, encoded, payload }
    } catch (error) {
      if (error instanceof MalformedError) return { ok: false, reason: error.message }
      throw error
    }
  }

  #add(
    stream: Stream,
    sender: Sender,
    batch: TracedBatch,
    encoded: Pick<EncodedBatch, 'accepted' | 'events' | 'refused'>,
    payload: Uint8Array | undefined,
  ): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { sequence } = batch
    stream.accept(sequence)
    this.#options.writer.added({
      streamId: stream.id,
      epoch: sender.epoch,
      sequence,
      payloadCrc32: batch.crc32,
      accepted: encoded.accepted,
      rejected: encoded.events - encoded.accepted,
      lost: batch.gaps.reduce((sum, gap) => sum + gap.events, 0n),
      payload,
      refused: encoded.refused,
      agentId: sender.agentId,
      agentHost: sender.host,
      span: batch.span,
      onCommit: () => {
        stream.commit(sequence)
        resolve()
        this.#wakeDuplicates(stream)
      },
    })
    return promise
  }

  /** Parks the payload and passes the batch over: it takes its place in the stream without rows. */
  async #quarantine(
    stream: Stream,
    sender: Sender,
    batch: TracedBatch,
    reason: string,
    signal: AbortSignal,
  ): Promise<BatchAnswer> {
    const { deadLetters, writer, log, onBatch } = this.#options
    checkPlace(stream, batch.sequence)
    const name = `${Buffer.from(stream.id).toString('hex')}-${batch.sequence}`
    await deadLetters.park(name, batch.payload)
    await writer.room(signal)
    if (batch.sequence <= stream.acceptedThrough) return this.#duplicate(stream, batch)
    checkPlace(stream, batch.sequence)
    log.warn({ stream: name, reason }, 'batch quarantined')
    onBatch('quarantined')
    describe(batch.span, { 'cleartap.outcome': 'quarantined' })
    const nothing = { accepted: 0, events: batch.eventCount, refused: [] }
    const committed = this.#add(stream, sender, batch, nothing, undefined)
    const status = { code: Status.INVALID_ARGUMENT, message: reason, details: [] }
    return { committed, ack: {}, nack: { sequence: batch.sequence, status, quarantine: true } }
  }

  #duplicate(stream: Stream, batch: TracedBatch): BatchAnswer {
    this.#options.onBatch('duplicate')
    describe(batch.span, { 'cleartap.outcome': 'duplicate' })
    const ack = { duplicates: BigInt(batch.eventCount) }
    if (batch.sequence <= stream.committedThrough) {
      return { committed: Promise.resolve(), ack, nack: undefined }
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiting = this.#waiting.get(stream) ?? []
    waiting.push({ sequence: batch.sequence, resolve })
    this.#waiting.set(stream, waiting)
    return { committed: promise, ack, nack: undefined }
  }

  #wakeDuplicates(stream: Stream): void {
    const waiting = this.#waiting.get(stream)
    if (waiting === undefined) return
    const still = waiting.filter(({ sequence, resolve }) => {
      if (sequence > stream.committedThrough) return true
      resolve()
      return false
    })
    if (still.length === 0) this.#waiting.delete(stream)
    else this.#waiting.set(stream, still)
  }
}

/** From a batch's arrival to its commit, below the agent's span of sending it; a root if the agent is not traced. */
function startBatchSpan({ traceparent, eventCount, payload }: EventBatch): Span {
  const facts = { 'cleartap.events': eventCount, 'cleartap.bytes': payload.length }
  return startSpan('pulse batch', { kind: SpanKind.CONSUMER, parent: fromTraceparent(traceparent), facts })
}

function checkPlace(stream: Stream, sequence: bigint): void {
  const expected = stream.acceptedThrough + 1n
  if (sequence === expected) return
  throw rpcError(
    Status.OUT_OF_RANGE,
    'SEQUENCE_GAP',
    `expected sequence ${expected}, got ${sequence}; declare what will never come as a hole`,
    { metadata: { expected: expected.toString(), got: sequence.toString() } },
  )
}
