/** HTTP/2 (RFC 9113) is recognised and not decoded: its connections are reported by name, without exchanges. */
import type { Detection, Protocol, ProtocolParser } from '../protocol.js'

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export function createHttp2(): Protocol {
  let connections = 0
  return {
    name: 'http2',
    detect,
    open: () => {
      connections++
      return RECOGNISED
    },
    stats: () => ({ connections }),
  }
}

/** The preface that a client begins with (section 3.4). */
function detect(bytes: Uint8Array): Detection {
  const length = Math.min(bytes.length, PREFACE.length)
  for (let at = 0; at < length; at++) {
    if (bytes[at] !== PREFACE[at]) return 'no'
  }
  return length === PREFACE.length ? 'match' : 'more'
}

/** Has no state, so that one serves all connections. */
const RECOGNISED: ProtocolParser = {
  stopped: true,
  protocol: 'http/2',
  push: () => {},
  gap: () => {},
  end: () => {},
  dropBodies: () => 0,
}
