/** The agent's way from a kernel record to a batch on disk, on one core, stage by stage. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DataEvent, FlowDirection } from '../agent/src/bpf/events.js'
import { BootClock, ConnectionTable } from '../agent/src/connections/index.js'
import type { Exchange, ProcessInfo } from '../agent/src/exchange/exchange.js'
import { EventMaker } from '../agent/src/exchange/to-event.js'
import { makeBatch } from '../agent/src/sinks/pulse/batch.js'
import { Spool } from '../agent/src/sinks/pulse/spool.js'
import type { EventRecord } from '../agent/src/sinks/sink.js'
import type { Bench, BenchResult, Figure } from './bench.js'

const EXCHANGES = 300_000
const WARM_UP_EXCHANGES = 50_000
const STREAMS = 16
const EVENTS_A_BATCH = 1000

const PROCESS: ProcessInfo = {
  pid: 42,
  startNs: 7n,
  parentPid: 1,
  uid: 0,
  comm: 'nginx',
  exe: '/usr/sbin/nginx',
  argv: [],
  user: 'root',
  containerId: '',
  cgroup: '/system.slice/nginx.service',
}

const REQUEST = Buffer.from(
  'GET /api/v1/items/42?sort=asc&page=3 HTTP/1.1\r\nHost: api.example.test\r\nUser-Agent: curl/8.5.0\r\n' +
    'Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nAuthorization: Bearer abcdefghijklmnop\r\n\r\n',
)
const RESPONSE = Buffer.from(
  'HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nDate: Mon, 23 Nov 2026 18:00:00 GMT\r\n' +
    'Content-Type: application/json\r\nContent-Length: 27\r\nConnection: keep-alive\r\n\r\n{"id":42,"name":"anything"}',
)

/** What is done with an exchange; what is left of a batch at the end is not. */
type Stage = (exchange: Exchange) => void

const stages = (maker: EventMaker, spool: Spool): Readonly<Record<string, Stage>> => {
  const batches = (onBatch: (records: readonly EventRecord[]) => void): Stage => {
    let records: EventRecord[] = []
    return (exchange) => {
      if (records.push(maker.fromHttp(exchange, [])) < EVENTS_A_BATCH) return
      onBatch(records)
      records = []
    }
  }
  return {
    'records to exchanges': () => {},
    'records to events': (exchange) => maker.fromHttp(exchange, []),
    'records to compressed batches': batches((records) => makeBatch(records, [])),
    'records to batches in the spool': batches((records) => {
      const batch = makeBatch(records, [])
      spool.append((sequence) => ({ ...batch, sequence: BigInt(sequence), traceparent: '' }))
    }),
  }
}

class Replay {
  readonly #table: ConnectionTable
  readonly #readOffsets = new Array<number>(STREAMS).fill(0)
  readonly #writeOffsets = new Array<number>(STREAMS).fill(0)
  #timeNs = 1n

  constructor(onExchange: Stage) {
    this.#table = new ConnectionTable({
      maxConnections: 1000,
      maxBufferedBytes: 1 << 26,
      maxBodyBytes: 0,
      processOf: () => PROCESS,
      libraryOf: () => 'openssl',
      onExchange,
      onConnectionPart: () => {},
      clock: new BootClock(),
    })
  }

  run(exchanges: number): void {
    for (let index = 0; index < exchanges; index++) {
      const stream = index % STREAMS
      this.#push(stream, 'read', REQUEST, this.#readOffsets)
      this.#push(stream, 'write', RESPONSE, this.#writeOffsets)
    }
  }

  #push(stream: number, direction: FlowDirection, bytes: Buffer, offsets: number[]): void {
    const offset = offsets[stream] ?? 0
    offsets[stream] = offset + bytes.length
    this.#timeNs += 1000n
    const event: DataEvent = {
      kind: 'data',
      process: PROCESS,
      threadId: 42,
      streamId: BigInt(stream),
      direction,
      timeNs: this.#timeNs,
      sequence: 0,
      offset: BigInt(offset),
      bytes,
    }
    this.#table.onEvent(event)
  }
}

/** Exchanges a second. */
const measure = (stage: Stage): number => {
  const replay = new Replay(stage)
  replay.run(WARM_UP_EXCHANGES)
  const startMs = performance.now()
  replay.run(EXCHANGES)
  return EXCHANGES / ((performance.now() - startMs) / 1000)
}

const MARKS: Readonly<Record<string, number>> = {
  'records to exchanges': 200_000,
  'records to batches in the spool': 100_000,
}

const run = async (): Promise<BenchResult> => {
  const directory = mkdtempSync(join(tmpdir(), 'cleartap-bench-'))
  const spool = new Spool({ directory, maxBytes: 1 << 30, segmentBytes: 1 << 23 })
  try {
    const figures = Object.entries(stages(new EventMaker(), spool)).map(([name, stage]): Figure => {
      const figure = { name, value: Math.round(measure(stage)), unit: 'exchanges/s' }
      const mark = MARKS[name]
      return mark === undefined ? figure : { ...figure, mark: { value: mark, direction: 'at-least' } }
    })
    const conditions = {
      exchanges: EXCHANGES,
      request_bytes: REQUEST.length,
      response_bytes: RESPONSE.length,
      cores: 1,
      events_a_batch: EVENTS_A_BATCH,
      node: process.version,
    }
    return { figures, conditions }
  } finally {
    spool.close()
    rmSync(directory, { recursive: true })
  }
}

export const pipeline: Bench = {
  name: 'pipeline',
  about: 'agent: kernel records to exchanges, events, batches, spool; one core',
  run,
}
