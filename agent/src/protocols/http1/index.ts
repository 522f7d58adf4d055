/** HTTP/1.0 and HTTP/1.1 as a protocol of the registry. */
import type { Protocol } from '../protocol.js'
import { detectRequest } from './detect.js'
import { HeadMemory } from './head-memory.js'
import { createCounters, Http1Parser } from './parser.js'

export function createHttp1(): Protocol {
  const counters = createCounters()
  const memory = new HeadMemory()
  return {
    name: 'http1',
    detect: detectRequest,
    open: (host) => new Http1Parser(host, counters, memory),
    stats: () => ({ ...counters }),
  }
}
