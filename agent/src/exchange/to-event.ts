/**
 * Builds event messages: the only place where internal becomes wire. Metadata only: of all header fields
 * just the host, the media types, the user agent and the trace context; never a body, never a query value.
 */
import {
  ArtifactKind as ArtifactKindMessage,
  type ArtifactRef,
  Completeness,
  Direction,
  type Event,
  PeerConfidence,
  type Peer as PeerMessage,
  type Process,
} from '../../../gen/cleartap/event/v1/event.js'
import type { EventRecord } from '../sinks/sink.js'
import type { Artifact, ArtifactKind } from './artifact.js'
import type { ConnectionPart } from './connection-part.js'
import type { HttpExchange, HttpMessage, Peer, ProcessInfo } from './exchange.js'
import { mediaTypeOf } from './media-type.js'
import { type EventUrl, eventUrl, headerOf } from './url.js'

const MAX_USER_AGENT_CHARS = 512
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}/
const ALL_ZERO = /^0+$/
const EMPTY = Buffer.alloc(0)

const COMPLETENESS = {
  complete: Completeness.COMPLETENESS_COMPLETE,
  gap: Completeness.COMPLETENESS_GAP,
  aborted: Completeness.COMPLETENESS_ABORTED,
} as const
const CONFIDENCE = {
  unknown: PeerConfidence.PEER_CONFIDENCE_UNKNOWN,
  inferred: PeerConfidence.PEER_CONFIDENCE_INFERRED,
  exact: PeerConfidence.PEER_CONFIDENCE_EXACT,
} as const
const DIRECTION = {
  client: Direction.DIRECTION_EGRESS,
  server: Direction.DIRECTION_INGRESS,
  unknown: Direction.DIRECTION_UNSPECIFIED,
} as const
const ARTIFACT_KIND: Record<ArtifactKind, ArtifactRef['kind']> = {
  http_headers: ArtifactKindMessage.ARTIFACT_KIND_HTTP_HEADERS,
  http_request_body: ArtifactKindMessage.ARTIFACT_KIND_HTTP_REQUEST_BODY,
  http_response_body: ArtifactKindMessage.ARTIFACT_KIND_HTTP_RESPONSE_BODY,
}

type Headers = HttpMessage['headers']

/** What an event says of a request's head. */
interface RequestFacts {
  readonly method: string
  readonly target: string
  readonly url: EventUrl
  readonly trace: { readonly traceId: Buffer; readonly spanId: Buffer }
  readonly contentType: string
  readonly userAgent: string
}

/**
 * Makes events of exchanges and connection parts. The same ProcessInfo object gives the same Process
 * message, by which a sink knows that two events share one.
 */
export class EventMaker {
  readonly #processes = new WeakMap<ProcessInfo, Process>()
  readonly #peers = new WeakMap<Peer, PeerMessage>()
  /** By the header list, which heads that are alike share. */
  readonly #requests = new WeakMap<Headers, RequestFacts>()
  readonly #responseTypes = new WeakMap<Headers, string>()

  /** An exchange with the artifacts that are stored of it. */
  fromHttp(exchange: HttpExchange, artifacts: readonly Artifact[]): EventRecord {
    const { request, response } = exchange
    const { url, trace, contentType, userAgent } = this.#requestFacts(exchange)
    const endNs = response === undefined || response.endNs < request.endNs ? request.endNs : response.endNs
    const event: Event = {
      eventId: bufferOf(exchange.id),
      timeUnixNano: request.startNs,
      process: 0,
      kind: {
        $case: 'httpRequest',
        value: {
          connectionId: bufferOf(exchange.connectionId),
          peer: this.#peer(exchange.peer),
          protocol: exchange.protocol,
          tlsLibrary: exchange.tlsLibrary,
          method: exchange.method,
          scheme: exchange.tlsLibrary === '' ? 'http' : 'https',
          host: url.host,
          path: url.path,
          query: url.query,
          status: exchange.status ?? 0,
          firstByteNano: response === undefined ? 0n : elapsed(request.startNs, response.startNs),
          durationNano: elapsed(request.startNs, endNs),
          requestBytes: BigInt(request.wireBytes),
          responseBytes: BigInt(response?.wireBytes ?? 0),
          requestBodyBytes: BigInt(request.body?.size ?? 0),
          responseBodyBytes: BigInt(response?.body?.size ?? 0),
          requestContentType: contentType,
          responseContentType: response === undefined ? '' : this.#responseType(response),
          userAgent,
          completeness: COMPLETENESS[exchange.completeness],
          bytesLost: BigInt(exchange.bytesLost),
          traceId: trace.traceId,
          spanId: trace.spanId,
          indexInConnection: exchange.index,
          artifacts: artifacts.map(artifactRef),
        },
      },
    }
    return { event, process: this.#process(exchange.process) }
  }

  fromConnection(part: ConnectionPart): EventRecord {
    const event: Event = {
      eventId: bufferOf(part.id),
      timeUnixNano: part.startNs,
      process: 0,
      kind: {
        $case: 'connection',
        value: {
          connectionId: bufferOf(part.connectionId),
          peer: this.#peer(part.peer),
          part: part.part,
          finalized: part.finalized,
          openedUnixNano: part.openedNs,
          bytesRead: BigInt(part.bytesRead),
          bytesWritten: BigInt(part.bytesWritten),
          bytesLost: BigInt(part.bytesLost),
          protocol: part.protocol,
          tlsLibrary: part.tlsLibrary,
          exchanges: part.exchanges,
        },
      },
    }
    return { event, process: this.#process(part.process) }
  }

  #requestFacts(exchange: HttpExchange): RequestFacts {
    const { request, method, target } = exchange
    const known = this.#requests.get(request.headers)
    if (known?.method === method && known.target === target) return known
    const facts: RequestFacts = {
      method,
      target,
      url: eventUrl(exchange),
      trace: traceContext(request),
      contentType: mediaTypeOf(request),
      userAgent: (headerOf(request.headers, 'user-agent') ?? '').slice(0, MAX_USER_AGENT_CHARS),
    }
    this.#requests.set(request.headers, facts)
    return facts
  }

  #responseType(response: HttpMessage): string {
    const known = this.#responseTypes.get(response.headers)
    if (known !== undefined) return known
    const type = mediaTypeOf(response)
    this.#responseTypes.set(response.headers, type)
    return type
  }

  #process(info: ProcessInfo): Process {
    const known = this.#processes.get(info)
    if (known !== undefined) return known
    const { pid, startNs, parentPid, uid, comm, exe, user, containerId, cgroup } = info
    const message = { pid, startBoottimeNano: startNs, parentPid, uid, comm, exe, user, containerId, cgroup }
    this.#processes.set(info, message)
    return message
  }

  #peer(peer: Peer): PeerMessage {
    const known = this.#peers.get(peer)
    if (known !== undefined) return known
    const message: PeerMessage = {
      confidence: CONFIDENCE[peer.confidence],
      direction: DIRECTION[peer.role],
      localAddress: bufferOf(peer.localAddress),
      localPort: peer.localPort,
      remoteAddress: bufferOf(peer.remoteAddress),
      remotePort: peer.remotePort,
    }
    this.#peers.set(peer, message)
    return message
  }
}

function artifactRef(artifact: Artifact): ArtifactRef {
  return {
    kind: ARTIFACT_KIND[artifact.kind],
    sha256: bufferOf(artifact.object.sha256),
    size: BigInt(artifact.object.size),
    truncated: artifact.truncated,
    contentType: artifact.contentType,
    store: artifact.store,
    key: artifact.object.key,
  }
}

/** From traceparent (W3C Trace Context, level 1); empty if absent or not valid. */
function traceContext(request: HttpMessage): { traceId: Buffer; spanId: Buffer } {
  const value = headerOf(request.headers, 'traceparent')
  const match = value === undefined ? null : TRACEPARENT.exec(value)
  const [, traceId = '', spanId = ''] = match ?? []
  if (match === null || ALL_ZERO.test(traceId) || ALL_ZERO.test(spanId) || value?.startsWith('ff')) {
    return { traceId: EMPTY, spanId: EMPTY }
  }
  return { traceId: Buffer.from(traceId, 'hex'), spanId: Buffer.from(spanId, 'hex') }
}

/** Times come from several CPUs: one that runs backwards counts as none. */
function elapsed(fromNs: bigint, toNs: bigint): bigint {
  return toNs > fromNs ? toNs - fromNs : 0n
}

/** A wrapper costs more than the rest of a small event: what is a Buffer stays one. */
function bufferOf(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
