/** A Pulse on free ports with a directory of its own, and events to send it. For tests and benchmarks. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { type Channel, createChannel, createClientFactory } from 'nice-grpc'
import { pino } from 'pino'
import { uuidv7obj } from 'uuidv7'
import { pulseConfigSchema } from '../../common/config/schema.js'
import { errorDetailsMiddleware } from '../../common/grpc-error.js'
import { Compression } from '../../gen/cleartap/event/v1/compression.js'
import { type Event, Events, type HttpRequest, type Process } from '../../gen/cleartap/event/v1/event.js'
import {
  type EventBatch,
  type IngestHello,
  type IngestRequest,
  type IngestResponse,
  type IngestServiceClient,
  IngestServiceDefinition,
  type StreamKey,
} from '../../gen/cleartap/pulse/v1/ingest.js'
import { type QueryServiceClient, QueryServiceDefinition } from '../../gen/cleartap/pulse/v1/query.js'
import { type Pulse, startPulse } from './pulse.js'

export interface PulseFixture {
  readonly dataDir: string
  pulse: Pulse
  ingest: IngestServiceClient
  query: QueryServiceClient
  /** Ends Pulse and starts it again on the same directory. */
  restart(): Promise<void>
  /** Ends Pulse and removes its directory. */
  remove(): Promise<void>
}

/** Starts a Pulse with its embedded engine. `ingest` overrides limits. */
export async function startPulseFixture(ingest: Record<string, number> = {}): Promise<PulseFixture> {
  const dataDir = await mkdtemp(join(tmpdir(), 'cleartap-pulse-'))
  const config = pulseConfigSchema.parse({
    data_dir: dataDir,
    listen: '127.0.0.1:0',
    admin: { listen: '127.0.0.1:0' },
    ingest: { max_block_age_ms: 20, ...ingest },
  })
  const log = pino({ level: process.env['PULSE_TEST_LOG'] ?? 'silent' }, pino.destination(2))
  let channel: Channel | undefined
  const open = async () => {
    const pulse = await startPulse(config, log, {})
    channel = createChannel(pulse.listen)
    const clients = createClientFactory().use(errorDetailsMiddleware)
    return {
      pulse,
      ingest: clients.create(IngestServiceDefinition, channel),
      query: clients.create(QueryServiceDefinition, channel),
    }
  }
  const close = async () => {
    channel?.close()
    await fixture.pulse.stop()
  }
  const fixture: PulseFixture = {
    dataDir,
    ...(await open()),
    async restart() {
      await close()
      Object.assign(fixture, await open())
    },
    async remove() {
      await close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
  return fixture
}

/** An agent's open Ingest stream. */
export interface AgentStream {
  send(message: NonNullable<IngestRequest['message']>): void
  batch(batch: EventBatch): void
  /** The next answer; throws what the call ends with, or if it ended without one. */
  next(): Promise<NonNullable<IngestResponse['message']>>
  /** Reads answers until an ack covers the sequence; returns them all. */
  ackedThrough(sequence: bigint): Promise<NonNullable<IngestResponse['message']>[]>
  /** Sends a goodbye and reads to the end. */
  leave(): Promise<void>
}

/** Opens a stream and says hello. */
export function openAgentStream(client: IngestServiceClient, hello: IngestHello): AgentStream {
  const waiting: IngestRequest[] = []
  let wake: (() => void) | undefined
  let ended = false
  async function* requests(): AsyncGenerator<IngestRequest> {
    for (;;) {
      const request = waiting.shift()
      if (request) yield request
      else if (ended) return
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  }
  const send = (message: NonNullable<IngestRequest['message']>) => {
    waiting.push({ message })
    wake?.()
  }
  send({ $case: 'hello', value: hello })
  const answers = client.ingest(requests())[Symbol.asyncIterator]()
  const next = async () => {
    const { value, done } = await answers.next()
    if (done || value?.message === undefined) throw new Error('the stream ended without an answer')
    return value.message
  }
  return {
    send,
    batch: (batch) => send({ $case: 'batch', value: batch }),
    next,
    async ackedThrough(sequence) {
      const seen: NonNullable<IngestResponse['message']>[] = []
      for (;;) {
        const message = await next()
        seen.push(message)
        if (message.$case === 'ack' && message.value.committedThrough >= sequence) return seen
      }
    },
    async leave() {
      send({ $case: 'goodbye', value: { reason: 'done' } })
      ended = true
      wake?.()
      for (let step = await answers.next(); !step.done; step = await answers.next());
    },
  }
}

/** Rows of a table that a stream has. */
export async function countRows(fixture: PulseFixture, table: string, key: StreamKey): Promise<number> {
  const { clickhouse, database } = fixture.pulse.store
  const { rows } = await clickhouse.query(
    `SELECT count() FROM ${database}.${table} WHERE stream_id = unhex({id:String})`,
    { parameters: { id: Buffer.from(key.streamId).toString('hex') } },
  )
  return Number(rows[0]?.[0])
}

/** A new stream's key in its first epoch. */
export function newStreamKey(): StreamKey {
  return { streamId: newId(), epoch: 1n }
}

/** A UUIDv7 of 16 bytes. */
export function newId(): Buffer {
  return Buffer.from(uuidv7obj().bytes)
}

/** A hello as a healthy agent says it. */
export function helloOf(key: StreamKey, fields: Partial<IngestHello> = {}): IngestHello {
  return {
    key,
    agentVersion: '0.1.0',
    host: 'host-1',
    agentId: Buffer.alloc(16, 7),
    acceptCompression: [Compression.COMPRESSION_NONE],
    firstAvailableSequence: 1n,
    nextSequence: 1n,
    spoolBytes: 0n,
    clientTimeUnixNano: BigInt(Date.now()) * 1_000_000n,
    holes: [],
    ...fields,
  }
}

/** A batch of these events, uncompressed. */
export function batchOf(
  sequence: bigint,
  events: readonly Event[],
  processes = [sampleProcess()],
): EventBatch {
  const payload = Buffer.from(Events.encode({ processes: [...processes], events: [...events] }).finish())
  return {
    sequence,
    firstUnixNano: events[0]?.timeUnixNano ?? 0n,
    lastUnixNano: events.at(-1)?.timeUnixNano ?? 0n,
    eventCount: events.length,
    crc32: crc32(payload),
    compression: Compression.COMPRESSION_NONE,
    payload,
    gaps: [],
    traceparent: '',
  }
}

export function sampleProcess(fields: Partial<Process> = {}): Process {
  return {
    pid: 4242,
    startBoottimeNano: 123_456_789_012_345n,
    parentPid: 1,
    uid: 1000,
    comm: 'curl',
    exe: '/usr/bin/curl',
    user: 'ada',
    containerId: '',
    cgroup: '/user.slice/session-1.scope',
    ...fields,
  }
}

/** An exchange `i` of a series: time, path, status and sizes differ with it. */
export function sampleRequest(i: number, fields: Partial<HttpRequest> = {}): Event {
  return {
    eventId: newId(),
    timeUnixNano: 1_795_000_000_000_000_000n + BigInt(i) * 1_000_000n,
    process: 0,
    kind: { $case: 'httpRequest', value: sampleExchange(i, fields) },
  }
}

function sampleExchange(i: number, fields: Partial<HttpRequest>): HttpRequest {
  return {
    connectionId: Buffer.from('0190b0c0a0b07000800000000000002a', 'hex'),
    peer: {
      confidence: 3,
      direction: 2,
      localAddress: Buffer.from([10, 0, 0, 5]),
      localPort: 40_000 + (i % 20_000),
      remoteAddress: Buffer.from([93, 184, 216, 34]),
      remotePort: 443,
    },
    protocol: 'http/1.1',
    tlsLibrary: 'openssl',
    method: i % 3 === 0 ? 'POST' : 'GET',
    scheme: 'https',
    host: 'api.example.com',
    path: `/v1/items/${i}`,
    query: 'page=&limit=',
    status: i % 10 === 0 ? 503 : 200,
    firstByteNano: 1_000_000n + BigInt(i),
    durationNano: 2_500_000n + BigInt(i),
    requestBytes: 431n,
    responseBytes: 2_048n + BigInt(i),
    requestBodyBytes: 17n,
    responseBodyBytes: 1_700n,
    requestContentType: 'application/json',
    responseContentType: 'application/json; charset=utf-8',
    userAgent: 'curl/8.9.1',
    completeness: 1,
    bytesLost: 0n,
    traceId: Buffer.from('4bf92f3577b34da6a3ce929d0e0e4736', 'hex'),
    spanId: Buffer.from('00f067aa0ba902b7', 'hex'),
    indexInConnection: i,
    artifacts: [],
    ...fields,
  }
}

/** A part of a connection. */
export function sampleConnection(part: number): Event {
  return {
    eventId: newId(),
    timeUnixNano: 1_795_000_000_000_000_000n,
    process: 0,
    kind: {
      $case: 'connection',
      value: {
        connectionId: Buffer.from('0190b0c0a0b07000800000000000002a', 'hex'),
        peer: {
          confidence: 3,
          direction: 1,
          localAddress: Buffer.from('20010db8000000000000000000000001', 'hex'),
          localPort: 443,
          remoteAddress: Buffer.from([192, 0, 2, 9]),
          remotePort: 50_000,
        },
        part,
        finalized: part === 2,
        openedUnixNano: 1_794_999_999_000_000_000n,
        bytesRead: 1000n,
        bytesWritten: 18_446_744_073_709_551_615n,
        bytesLost: 0n,
        protocol: 'http/1.1',
        tlsLibrary: 'openssl',
        exchanges: 3,
      },
    },
  }
}
