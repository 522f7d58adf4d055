/** The protocols that are decoded. A new one is a folder and a line here. */
import { createHttp1 } from './http1/index.js'
import { createHttp2 } from './http2/index.js'
import type { Protocol } from './protocol.js'

export type { ConnectionFacts, EndReason, ParserHost, Protocol, ProtocolParser, Side } from './protocol.js'

/** In the order in which their detectors are asked. */
export function createProtocols(): readonly Protocol[] {
  return [createHttp1(), createHttp2()]
}
