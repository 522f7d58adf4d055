/** What a protocol decoder is to the connections: found by content, fed bytes, yields exchanges. */
import type { Exchange, Peer, ProcessInfo } from '../exchange/exchange.js'

/** Which half of the conversation bytes belong to. */
export type Side = 'request' | 'response'

/** Whether bytes at the beginning of a record are the beginning of a request of this protocol. */
export type Detection = 'match' | 'no' | 'more'

/** Why a connection's decoding ends. Only `closed` says that the peers themselves ended it. */
export type EndReason = 'closed' | 'evicted' | 'capture_ended'

/** What is known of a connection when an exchange ends. */
export interface ConnectionFacts {
  /** UUIDv7, 16 bytes. */
  readonly connectionId: Uint8Array
  readonly process: ProcessInfo
  readonly peer: Peer
  /** Such as "openssl". */
  readonly tlsLibrary: string
}

/** What a decoder needs from its surroundings. */
export interface ParserHost {
  /** Longer bodies are cut; 0 keeps none. */
  readonly maxBodyBytes: number
  facts(): ConnectionFacts
  /** A UUIDv7, 16 bytes. */
  newId(): Uint8Array
  emit(exchange: Exchange): void
  /** Asks to hold bytes in memory; false: over the budget, nothing was taken. */
  hold(bytes: number): boolean
  /** Gives back what hold took. */
  release(bytes: number): void
}

/** Decodes one connection. Never throws on any bytes; gives up and counts instead. */
export interface ProtocolParser {
  /** True once the parser takes no more interest in the connection. */
  readonly stopped: boolean
  /** Such as "http/1.1"; empty while unknown. */
  readonly protocol: string
  /** The next bytes of a side; the view is valid only during the call. Times: Unix epoch nanoseconds. */
  push(side: Side, bytes: Uint8Array, timeNs: bigint): void
  /** The next `bytes` bytes of a side are lost. */
  gap(side: Side, bytes: number, timeNs: bigint): void
  /** Ends everything that is open. */
  end(timeNs: bigint, reason: EndReason): void
  /** Lets go of all kept body bytes of unfinished exchanges (they end as truncated); returns how many. */
  dropBodies(): number
}

export interface Protocol {
  readonly name: string
  detect(bytes: Uint8Array): Detection
  /** A parser whose first request begins with the next byte pushed. */
  open(host: ParserHost): ProtocolParser
  /** Totals over all parsers. */
  stats(): Readonly<Record<string, number>>
}
