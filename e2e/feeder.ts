/** Plays an agent by its contracts: objects into the bucket, events to Pulse by PushBatch. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { uuidv7obj } from 'uuidv7'
import { connect, createRpcClient } from '../common/grpc-client.js'
import type { S3Server } from '../deploy/local/seaweedfs.js'
import { Compression } from '../gen/cleartap/event/v1/compression.js'
import {
  ArtifactKind,
  type ArtifactRef,
  Completeness,
  type DeepPartial,
  Direction,
  Event,
  Events,
  type HttpRequest,
  PeerConfidence,
  Process,
} from '../gen/cleartap/event/v1/event.js'
import { type EventBatch, IngestServiceDefinition } from '../gen/cleartap/pulse/v1/ingest.js'

type Header = readonly [name: string, value: string]

export interface FedExchange {
  readonly method: string
  readonly host: string
  readonly path: string
  readonly status: number
  readonly requestHeaders?: readonly Header[]
  readonly responseHeaders?: readonly Header[]
  readonly requestBody?: FedBody
  readonly responseBody?: FedBody
  /** True: the event names no object, as with capture level "metadata". */
  readonly metadataOnly?: boolean
  /** Fields of the event that differ from the usual. */
  readonly event?: DeepPartial<HttpRequest>
  readonly process?: DeepPartial<Process>
}

export interface FedBody {
  readonly bytes: Uint8Array
  readonly contentType: string
  /** Size of the message's body, if only its beginning is stored. */
  readonly wholeSize?: number
  /** What the bucket holds in place of the bytes: a tampered object. Undefined: the bytes. */
  readonly tampered?: Uint8Array
}

export interface Feeder {
  /** Stores the objects, pushes the events and waits until they are committed. Gives their ids as UUID text. */
  push(exchanges: readonly FedExchange[]): Promise<readonly string[]>
  close(): void
}

export const openFeeder = (server: S3Server, pulseAddress: string): Feeder => {
  const s3 = new S3Client({
    endpoint: server.endpoint,
    region: server.region,
    forcePathStyle: true,
    credentials: server.credentials,
  })
  const channel = connect(pulseAddress)
  const ingest = createRpcClient(IngestServiceDefinition, channel)
  const key = { streamId: newId(), epoch: 1n }
  const hello = { key, agentVersion: '0.1.0', host: 'feeder', agentId: newId() }
  let sequence = 0n

  const store = async (kind: ArtifactKind, body: FedBody): Promise<ArtifactRef> => {
    const sha256 = createHash('sha256').update(body.bytes).digest()
    const objectKey = `v1/default/2026/11/23/${sha256.toString('hex')}`
    const object = { Bucket: server.bucket, Key: objectKey, ContentType: 'application/octet-stream' }
    await s3.send(new PutObjectCommand({ ...object, Body: body.tampered ?? body.bytes }))
    return {
      kind,
      sha256,
      size: BigInt(body.bytes.length),
      truncated: body.wholeSize !== undefined,
      contentType: body.contentType,
      store: 'default',
      key: objectKey,
    }
  }

  const toEvent = async (exchange: FedExchange, process: number): Promise<Event> => {
    const { requestBody, responseBody, metadataOnly = false } = exchange
    const artifacts: ArtifactRef[] = []
    if (!metadataOnly) artifacts.push(await store(ArtifactKind.ARTIFACT_KIND_HTTP_HEADERS, headsOf(exchange)))
    if (requestBody) artifacts.push(await store(ArtifactKind.ARTIFACT_KIND_HTTP_REQUEST_BODY, requestBody))
    if (responseBody) artifacts.push(await store(ArtifactKind.ARTIFACT_KIND_HTTP_RESPONSE_BODY, responseBody))
    return Event.create({
      eventId: newId(),
      timeUnixNano: BigInt(Date.now()) * 1_000_000n,
      process,
      kind: { $case: 'httpRequest', value: { ...usualEvent(exchange), artifacts, ...exchange.event } },
    })
  }

  return {
    push: async (exchanges) => {
      const events: Event[] = []
      for (const [index, exchange] of exchanges.entries()) events.push(await toEvent(exchange, index))
      const processes = exchanges.map((exchange) => Process.create({ ...usualProcess, ...exchange.process }))
      sequence += 1n
      const answer = await ingest.pushBatch({
        key,
        hello: { ...hello, firstAvailableSequence: sequence, nextSequence: sequence + 1n },
        batch: toBatch(sequence, processes, events),
      })
      if (answer.nack !== undefined)
        throw new Error(`Pulse refused the batch: ${answer.nack.status?.message}`)
      if (answer.ack?.accepted !== BigInt(events.length)) {
        throw new Error(`Pulse stored ${answer.ack?.accepted} of ${events.length} events`)
      }
      return events.map((event) => toUuidText(event.eventId))
    },
    close: () => {
      s3.destroy()
      channel.close()
    },
  }
}

const toBatch = (sequence: bigint, processes: Process[], events: Event[]): EventBatch => {
  const payload = Buffer.from(Events.encode({ processes, events }).finish())
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

const newId = (): Buffer => Buffer.from(uuidv7obj().bytes)

const toUuidText = (id: Buffer): string =>
  id.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

const usualProcess: DeepPartial<Process> = {
  pid: 4242,
  startBoottimeNano: 123_456_789n,
  parentPid: 1,
  uid: 1000,
  comm: 'node',
  exe: '/usr/bin/node',
  user: 'app',
  cgroup: '/system.slice/app.service',
}

const usualEvent = (exchange: FedExchange): DeepPartial<HttpRequest> => ({
  connectionId: newId(),
  peer: {
    confidence: PeerConfidence.PEER_CONFIDENCE_EXACT,
    direction: Direction.DIRECTION_EGRESS,
    localAddress: Buffer.from([127, 0, 0, 1]),
    localPort: 40_001,
    remoteAddress: Buffer.from([192, 0, 2, 7]),
    remotePort: 443,
  },
  protocol: 'http/1.1',
  tlsLibrary: 'openssl',
  method: exchange.method,
  scheme: 'https',
  host: exchange.host,
  path: exchange.path,
  status: exchange.status,
  firstByteNano: 9_000_000n,
  durationNano: 12_300_000n,
  requestBytes: 100n + sizeOf(exchange.requestBody),
  responseBytes: 120n + sizeOf(exchange.responseBody),
  requestBodyBytes: sizeOf(exchange.requestBody),
  responseBodyBytes: sizeOf(exchange.responseBody),
  requestContentType: exchange.requestBody?.contentType ?? '',
  responseContentType: exchange.responseBody?.contentType ?? '',
  completeness: Completeness.COMPLETENESS_COMPLETE,
})

const sizeOf = (body: FedBody | undefined): bigint => BigInt(body?.wholeSize ?? body?.bytes.length ?? 0)

/** The header object in the shape that ARTIFACT_KIND_HTTP_HEADERS has. */
const headsOf = ({ method, host, path, status, requestHeaders, responseHeaders }: FedExchange): FedBody => ({
  contentType: 'application/json',
  bytes: Buffer.from(
    JSON.stringify({
      request: { line: `${method} ${path} HTTP/1.1`, headers: [['Host', host], ...(requestHeaders ?? [])] },
      response: { line: `HTTP/1.1 ${status} OK`, headers: responseHeaders ?? [] },
    }),
  ),
})
