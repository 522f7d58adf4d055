/** Reads the recorded conversations in fixtures/ and plays them into a parser. Used by the tests beside it. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Exchange, HttpExchange } from '../../exchange/exchange.js'
import { IdMaker } from '../../exchange/id-maker.js'
import type { EndReason, ParserHost, ProtocolParser, Side } from '../protocol.js'
import { HeadMemory } from './head-memory.js'
import { createCounters, type Http1Counters, Http1Parser } from './parser.js'

/** Tests run from dist/: the recordings lie beside the sources. */
const DIRECTORY = join(import.meta.dirname, '../../../../../agent/src/protocols/http1/fixtures')

export type Step = readonly [side: Side, bytes: Uint8Array]

export interface ExpectedExchange {
  readonly method: string
  readonly target: string
  readonly status: number | null
  readonly requestBody: string | null
  readonly responseBody: string | null
  readonly completeness: HttpExchange['completeness']
}

export interface Fixture {
  readonly name: string
  readonly steps: readonly Step[]
  readonly end: EndReason
  readonly exchanges: readonly ExpectedExchange[]
  /** True if the parser must have given the connection up by the end. */
  readonly stopped: boolean
}

interface FixtureFile extends Omit<Fixture, 'name' | 'steps'> {
  readonly steps: readonly (readonly [Side, string])[]
}

export function readFixtures(): readonly Fixture[] {
  const names = readdirSync(DIRECTORY).filter((name) => name.endsWith('.json'))
  return names.sort().map((name) => {
    const file = JSON.parse(readFileSync(join(DIRECTORY, name), 'utf8')) as FixtureFile
    const steps = file.steps.map(([side, text]) => [side, Buffer.from(text, 'latin1')] as const)
    return { ...file, name: name.slice(0, -'.json'.length), steps }
  })
}

/** A parser on its own, with all that it yields. */
export class ParserRun {
  readonly exchanges: HttpExchange[] = []
  readonly counters: Http1Counters = createCounters()
  readonly parser: ProtocolParser
  heldBytes = 0
  peakHeldBytes = 0

  constructor(maxBodyBytes: number, maxHeldBytes = Number.POSITIVE_INFINITY) {
    const ids = new IdMaker()
    const host: ParserHost = {
      maxBodyBytes,
      facts: () => FACTS,
      newId: () => ids.next(),
      emit: (exchange: Exchange) => this.exchanges.push(exchange),
      hold: (bytes) => {
        if (this.heldBytes + bytes > maxHeldBytes) return false
        this.heldBytes += bytes
        this.peakHeldBytes = Math.max(this.peakHeldBytes, this.heldBytes)
        return true
      },
      release: (bytes) => {
        this.heldBytes -= bytes
      },
    }
    this.parser = new Http1Parser(host, this.counters, new HeadMemory())
  }

  /** Pushes a copy that is overwritten afterwards: who keeps the view is found out. */
  push(side: Side, bytes: Uint8Array, timeNs = 1n): void {
    const view = new Uint8Array(bytes)
    this.parser.push(side, view, timeNs)
    view.fill(0xff)
  }

  summary(): ExpectedExchange[] {
    return this.exchanges.map((exchange) => ({
      method: exchange.method,
      target: exchange.target,
      status: exchange.status ?? null,
      requestBody: bodyText(exchange.request.body?.chunks),
      responseBody: bodyText(exchange.response?.body?.chunks),
      completeness: exchange.completeness,
    }))
  }
}

function bodyText(chunks: readonly Uint8Array[] | undefined): string | null {
  return chunks === undefined ? null : Buffer.concat(chunks).toString('latin1')
}

const NO_ADDRESS = new Uint8Array(0)
const FACTS = {
  connectionId: new Uint8Array(16),
  process: {
    pid: 42,
    startNs: 7n,
    parentPid: 1,
    uid: 0,
    comm: 'test',
    exe: '/usr/bin/test',
    argv: ['test'],
    user: 'root',
    containerId: '',
    cgroup: '',
  },
  peer: {
    confidence: 'unknown',
    role: 'unknown',
    localAddress: NO_ADDRESS,
    localPort: 0,
    remoteAddress: NO_ADDRESS,
    remotePort: 0,
  },
  tlsLibrary: 'openssl',
} as const
