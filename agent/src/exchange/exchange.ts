/** What every protocol decoder yields and every plugin reads: one request and its final response. */
import type { Confidence, ProcessKey, Role } from '../bpf/events.js'

/** The two ends as known when the exchange ended. Addresses are 4 or 16 bytes, empty if unknown. */
export interface Peer {
  readonly confidence: Confidence
  readonly role: Role
  readonly localAddress: Uint8Array
  readonly localPort: number
  readonly remoteAddress: Uint8Array
  readonly remotePort: number
}

/** A process as it was when the exchange happened. */
export interface ProcessInfo extends ProcessKey {
  readonly parentPid: number
  readonly uid: number
  readonly comm: string
  readonly exe: string
  readonly argv: readonly string[]
  readonly user: string
  readonly containerId: string
  readonly cgroup: string
}

/** A message body after transfer coding, before content coding. */
export interface Body {
  /** What was kept: at most the configured maximum. */
  readonly chunks: readonly Uint8Array[]
  /** The whole body's length, kept or not. */
  readonly size: number
  readonly truncated: boolean
}

export interface HttpMessage {
  /** The start line as sent, without CRLF. */
  readonly startLine: string
  /** In order, names as sent; values as latin1 text, one character a byte. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Absent if the message cannot have one (response to HEAD, 204, request without framing headers). */
  readonly body?: Body
  /** On the wire above TLS, framing included. */
  readonly wireBytes: number
  /** Unix epoch nanoseconds of the first and last byte. */
  readonly startNs: bigint
  readonly endNs: bigint
}

export interface HttpExchange {
  readonly kind: 'http'
  /** UUIDv7, 16 bytes: the event's id. */
  readonly id: Uint8Array
  /** UUIDv7, 16 bytes. */
  readonly connectionId: Uint8Array
  /** Counts up from 0 within the connection. */
  readonly index: number
  readonly process: ProcessInfo
  readonly peer: Peer
  /** Such as "openssl". */
  readonly tlsLibrary: string
  readonly protocol: 'http/1.0' | 'http/1.1'
  readonly method: string
  /** As in the request line. */
  readonly target: string
  readonly status: number | undefined
  readonly request: HttpMessage
  readonly response: HttpMessage | undefined
  readonly completeness: 'complete' | 'gap' | 'aborted'
  readonly bytesLost: number
}

export type Exchange = HttpExchange
