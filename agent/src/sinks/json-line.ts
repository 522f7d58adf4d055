/**
 * An event as a line of proto JSON. Exchanges come by the hundred thousand and are written here field by field;
 * the shape is that of the generated toJSON, to which the tests hold it.
 */
import {
  ArtifactRef,
  completenessToJSON,
  Event,
  type HttpRequest,
  Peer,
  Process,
} from '../../../gen/cleartap/event/v1/event.js'
import type { EventRecord } from './sink.js'

/** What stays the same for many events of one connection. */
interface KnownText {
  peer: string
  connectionId: Buffer
  connection: string
  request: RequestText
}

/** The latest request's own fields and their text. */
interface RequestText {
  readonly of: HttpRequest
  readonly text: string
}

const SAFE_INTEGER = 9_007_199_254_740_991n

/** One writer for one sink: what it has written for a process or a peer it writes again as it stands. */
export class JsonLines {
  readonly #processes = new WeakMap<Process, string>()
  readonly #peers = new WeakMap<Peer, KnownText>()

  /** {"event": …, "process": …}, without the line's end. */
  format({ event, process }: EventRecord): string {
    let processText = this.#processes.get(process)
    if (processText === undefined) {
      processText = JSON.stringify(Process.toJSON(process))
      this.#processes.set(process, processText)
    }
    return `{"event":${this.#event(event)},"process":${processText}}`
  }

  #event(event: Event): string {
    if (event.kind?.$case !== 'httpRequest') return JSON.stringify(Event.toJSON(event))
    const { eventId, timeUnixNano, process } = event
    const own =
      bytesField('eventId', eventId) +
      bigField('timeUnixNano', timeUnixNano) +
      numberField('process', process)
    return `{${own}"httpRequest":${this.#http(event.kind.value)}}`
  }

  #http(http: HttpRequest): string {
    const { peer } = http
    const known = peer === undefined ? undefined : this.#known(peer, http)
    const lasting =
      known === undefined
        ? bytesField('connectionId', http.connectionId) + requestFields(http)
        : known.connection + known.peer + known.request.text
    const text = `{${lasting}${countFields(http)}`
    return text.endsWith(',') ? `${text.slice(0, -1)}}` : `${text}}`
  }

  #known(peer: Peer, http: HttpRequest): KnownText {
    const known = this.#peers.get(peer)
    if (known === undefined) {
      const fresh = {
        peer: `"peer":${JSON.stringify(Peer.toJSON(peer))},`,
        connectionId: http.connectionId,
        connection: bytesField('connectionId', http.connectionId),
        request: { of: http, text: requestFields(http) },
      }
      this.#peers.set(peer, fresh)
      return fresh
    }
    if (known.connectionId !== http.connectionId) {
      known.connectionId = http.connectionId
      known.connection = bytesField('connectionId', http.connectionId)
    }
    if (!isAlike(known.request.of, http)) known.request = { of: http, text: requestFields(http) }
    return known
  }
}

function isAlike(a: HttpRequest, b: HttpRequest): boolean {
  return (
    a.path === b.path &&
    a.host === b.host &&
    a.query === b.query &&
    a.method === b.method &&
    a.status === b.status &&
    a.userAgent === b.userAgent &&
    a.requestContentType === b.requestContentType &&
    a.responseContentType === b.responseContentType &&
    a.completeness === b.completeness &&
    a.protocol === b.protocol &&
    a.tlsLibrary === b.tlsLibrary &&
    a.scheme === b.scheme
  )
}

/** What one request of a connection often shares with the next. */
function requestFields(http: HttpRequest): string {
  return (
    textField('protocol', http.protocol) +
    textField('tlsLibrary', http.tlsLibrary) +
    textField('method', http.method) +
    textField('scheme', http.scheme) +
    textField('host', http.host) +
    textField('path', http.path) +
    textField('query', http.query) +
    numberField('status', http.status) +
    textField('requestContentType', http.requestContentType) +
    textField('responseContentType', http.responseContentType) +
    textField('userAgent', http.userAgent) +
    (http.completeness === 0 ? '' : `"completeness":"${completenessToJSON(http.completeness)}",`)
  )
}

function countFields(http: HttpRequest): string {
  return (
    bigField('firstByteNano', http.firstByteNano) +
    bigField('durationNano', http.durationNano) +
    bigField('requestBytes', http.requestBytes) +
    bigField('responseBytes', http.responseBytes) +
    bigField('requestBodyBytes', http.requestBodyBytes) +
    bigField('responseBodyBytes', http.responseBodyBytes) +
    bigField('bytesLost', http.bytesLost) +
    bytesField('traceId', http.traceId) +
    bytesField('spanId', http.spanId) +
    numberField('indexInConnection', http.indexInConnection) +
    (http.artifacts.length === 0
      ? ''
      : `"artifacts":${JSON.stringify(http.artifacts.map((artifact) => ArtifactRef.toJSON(artifact)))},`)
  )
}

function textField(name: string, value: string): string {
  return value === '' ? '' : `"${name}":${JSON.stringify(value)},`
}

function numberField(name: string, value: number): string {
  return value === 0 ? '' : `"${name}":${Math.round(value)},`
}

/** 64-bit integers are strings in proto JSON. Small ones are faster as numbers. */
function bigField(name: string, value: bigint): string {
  if (value === 0n) return ''
  return `"${name}":"${value <= SAFE_INTEGER ? Number(value) : value}",`
}

function bytesField(name: string, value: Buffer): string {
  return value.length === 0 ? '' : `"${name}":"${value.toString('base64')}",`
}
