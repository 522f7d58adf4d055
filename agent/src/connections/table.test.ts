import assert from 'node:assert/strict'
import type { BpfEvent, DataEvent, FlowDirection, ProcessKey } from '../bpf/events.js'
import type { ConnectionPart } from '../exchange/connection-part.js'
import type { HttpExchange, ProcessInfo } from '../exchange/exchange.js'
import { BootClock } from './boot-clock.js'
import { ConnectionTable } from './table.js'

const PROCESS: ProcessKey = { pid: 42, startNs: 7n }
const INFO: ProcessInfo = {
  ...PROCESS,
  parentPid: 1,
  uid: 0,
  comm: 'test',
  exe: '/usr/bin/test',
  argv: [],
  user: 'root',
  containerId: '',
  cgroup: '',
}
const REQUEST = 'GET /a HTTP/1.1\r\nHost: h\r\n\r\n'
const RESPONSE = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
/** Boot was a second after the epoch. */
const EPOCH_OFFSET_NS = 1_000_000_000n

class TableRun {
  readonly exchanges: HttpExchange[] = []
  readonly parts: ConnectionPart[] = []
  readonly table: ConnectionTable
  readonly #offsets = new Map<string, number>()
  #timeNs = 0n

  constructor(limits: { maxConnections?: number; maxBufferedBytes?: number; maxBodyBytes?: number } = {}) {
    this.table = new ConnectionTable({
      maxConnections: limits.maxConnections ?? 100,
      maxBufferedBytes: limits.maxBufferedBytes ?? 1 << 20,
      maxBodyBytes: limits.maxBodyBytes ?? 1 << 20,
      processOf: () => INFO,
      libraryOf: () => 'openssl',
      onExchange: (exchange) => this.exchanges.push(exchange),
      onConnectionPart: (part) => this.parts.push(part),
      clock: new BootClock(
        () => 500_000n,
        () => 1000,
      ),
    })
  }

  data(streamId: bigint, direction: FlowDirection, text: string): void {
    this.table.onEvent(this.event(streamId, direction, text))
  }

  /** The next record of a direction; taking it without giving it to the table is losing or delaying it. */
  event(streamId: bigint, direction: FlowDirection, text: string): DataEvent {
    const key = `${streamId}${direction}`
    const offset = this.#offsets.get(key) ?? 0
    this.#offsets.set(key, offset + text.length)
    this.#timeNs += 1000n
    return {
      kind: 'data',
      process: PROCESS,
      threadId: 42,
      streamId,
      direction,
      timeNs: this.#timeNs,
      sequence: 0,
      offset: BigInt(offset),
      bytes: Buffer.from(text, 'latin1'),
    }
  }

  close(streamId: bigint): void {
    this.table.onEvent({ kind: 'close', process: PROCESS, streamId, timeNs: this.#timeNs })
  }

  urls(): string[] {
    return this.exchanges.map((exchange) => `${exchange.target} ${exchange.completeness}`)
  }
}

describe('ConnectionTable', () => {
  for (const [role, request, response] of [
    ['server', 'read', 'write'],
    ['client', 'write', 'read'],
  ] as const) {
    it(`finds requests in what a ${role} ${request}s`, () => {
      const run = new TableRun()
      run.data(1n, request, REQUEST)
      run.data(1n, response, RESPONSE)
      run.close(1n)
      const [exchange] = run.exchanges
      assert.ok(exchange)
      assert.equal(exchange.status, 200)
      assert.equal(exchange.completeness, 'complete')
      assert.equal(exchange.request.startNs, EPOCH_OFFSET_NS + 1000n)
      assert.equal(exchange.response?.endNs, EPOCH_OFFSET_NS + 2000n)
      const [part] = run.parts
      assert.ok(part)
      assert.deepEqual(part.connectionId, exchange.connectionId)
      const bytes = { request: REQUEST.length, response: RESPONSE.length }
      assert.equal(part.bytesRead, request === 'read' ? bytes.request : bytes.response)
      assert.equal(part.bytesWritten, request === 'read' ? bytes.response : bytes.request)
      assert.deepEqual([part.part, part.finalized, part.protocol, part.exchanges], [1, true, 'http/1.1', 1])
      assert.equal(run.table.stats().open, 0)
    })
  }

  it('does not believe a request on the side that a surely known role excludes', () => {
    const run = new TableRun()
    const socket: BpfEvent = {
      kind: 'socket',
      process: PROCESS,
      streamId: 1n,
      timeNs: 1n,
      cookie: 1n,
      confidence: 'exact',
      role: 'client',
      localAddress: Uint8Array.of(127, 0, 0, 1),
      localPort: 1,
      remoteAddress: Uint8Array.of(127, 0, 0, 2),
      remotePort: 443,
    }
    run.table.onEvent(socket)
    run.data(1n, 'read', REQUEST)
    run.data(1n, 'write', REQUEST)
    run.data(1n, 'read', RESPONSE)
    assert.deepEqual(run.urls(), ['/a complete'])
    assert.equal(run.exchanges[0]?.peer.remotePort, 443)
  })

  it('names HTTP/2 and does not try to decode it', () => {
    const run = new TableRun()
    for (const part of ['PRI * HTT', 'P/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0']) run.data(1n, 'read', part)
    run.data(1n, 'write', RESPONSE)
    run.data(1n, 'read', REQUEST)
    run.close(1n)
    assert.deepEqual(run.urls(), [])
    assert.equal(run.parts[0]?.protocol, 'http/2')
    assert.deepEqual(run.table.stats().protocols['http2'], { connections: 1 })
  })

  it('puts records into the order of their offsets and drops what comes twice', () => {
    const run = new TableRun()
    const first = run.event(1n, 'read', REQUEST.slice(0, 5))
    const second = run.event(1n, 'read', REQUEST.slice(5, 12))
    const third = run.event(1n, 'read', REQUEST.slice(12))
    for (const event of [first, third, second, first]) run.table.onEvent(event)
    run.data(1n, 'write', RESPONSE)
    assert.deepEqual(run.urls(), ['/a complete'])
    run.close(1n)
    assert.equal(run.table.stats().duplicateBytes, 5)
  })

  it('takes only what is new of a record that overlaps', () => {
    const run = new TableRun()
    const first = run.event(1n, 'read', REQUEST.slice(0, 10))
    const rest = run.event(1n, 'read', REQUEST.slice(10))
    run.table.onEvent(first)
    run.table.onEvent({ ...rest, offset: 5n, bytes: Buffer.from(REQUEST.slice(5, 15)) })
    run.table.onEvent({ ...rest, offset: 15n, bytes: Buffer.from(REQUEST.slice(15)) })
    run.data(1n, 'write', RESPONSE)
    assert.deepEqual(run.urls(), ['/a complete'])
  })

  it('ends what was open when requests were lost and a new one begins', () => {
    const run = new TableRun()
    run.data(1n, 'read', 'GET /open HTTP/1.1\r\n\r\n')
    const lost = run.event(1n, 'read', 'GET /lost HTTP/1.1\r\n\r\n')
    run.table.onEvent({ ...lost, kind: 'loss', bytes: BigInt(lost.bytes.length), reason: 'ring_full' })
    run.data(1n, 'write', 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\npart of it')
    run.data(1n, 'read', 'GET /new HTTP/1.1\r\n\r\n')
    run.data(1n, 'write', RESPONSE)
    assert.deepEqual(run.urls(), ['/open aborted', '/new complete'])
  })

  it('marks the exchange that lost bytes, and goes on with the next', () => {
    const run = new TableRun()
    run.data(1n, 'read', REQUEST)
    run.data(1n, 'write', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab')
    const lost = run.event(1n, 'write', 'cdef')
    run.table.onEvent({ ...lost, kind: 'loss', bytes: 4n, reason: 'ring_full' })
    run.data(1n, 'write', 'ghij')
    run.data(1n, 'read', REQUEST)
    run.data(1n, 'write', RESPONSE)
    run.close(1n)
    assert.deepEqual(run.urls(), ['/a gap', '/a complete'])
    assert.equal(run.exchanges[0]?.bytesLost, 4)
    assert.equal(run.exchanges[0]?.response?.body?.size, 10)
    assert.equal(run.exchanges[0]?.response?.body?.truncated, true)
    assert.equal(run.parts[0]?.bytesLost, 4)
  })

  it('blames lost bytes on the exchange that they belong to', () => {
    const run = new TableRun()
    const lose = (direction: FlowDirection) => {
      const lost = run.event(1n, direction, 'x'.repeat(10))
      run.table.onEvent({ ...lost, kind: 'loss', bytes: 10n, reason: 'ring_full' })
    }
    run.data(1n, 'read', 'GET /1 HTTP/1.1\r\n\r\n')
    lose('read')
    lose('read')
    run.data(1n, 'write', RESPONSE)
    lose('write')
    run.data(1n, 'read', 'GET /2 HTTP/1.1\r\n\r\n')
    lose('write')
    run.close(1n)
    assert.deepEqual(run.urls(), ['/1 complete', '/2 gap'])
    assert.equal(run.exchanges[1]?.bytesLost, 10)
    assert.equal(run.parts[0]?.bytesLost, 40)
  })

  it('joins a connection late and waits for the next request', () => {
    const run = new TableRun()
    run.event(1n, 'read', REQUEST)
    run.data(1n, 'write', 'rest of a body GET /no HTTP/1.1\r\n\r\n')
    run.data(1n, 'write', REQUEST)
    run.data(1n, 'read', 'GET /yes HTTP/1.1\r\n\r\n')
    run.data(1n, 'write', RESPONSE)
    assert.deepEqual(run.urls(), ['/yes complete'])
  })

  it('ends the idlest connection when there are too many, and counts it', () => {
    const run = new TableRun({ maxConnections: 2 })
    run.data(1n, 'read', REQUEST)
    run.data(2n, 'read', REQUEST)
    run.data(1n, 'write', 'HTTP/1.1 200 OK\r\n')
    run.data(3n, 'read', REQUEST)
    assert.deepEqual(run.urls(), ['/a aborted'])
    assert.equal(run.table.stats().evicted, 1)
    assert.equal(run.table.stats().open, 2)
    run.data(1n, 'write', 'Content-Length: 0\r\n\r\n')
    assert.deepEqual(run.urls(), ['/a aborted', '/a complete'])
  })

  it('lets bodies go, the longest held first, when the budget is spent', () => {
    const run = new TableRun({ maxBufferedBytes: 12_000 })
    const post = (size: number) => `POST /p HTTP/1.1\r\nContent-Length: ${size}\r\n\r\n`
    for (const streamId of [1n, 2n]) {
      run.data(streamId, 'read', post(6000))
      run.data(streamId, 'read', 'x'.repeat(5999))
      assert.ok(run.table.stats().bufferedBytes <= 12_000)
    }
    for (const streamId of [1n, 2n]) {
      run.data(streamId, 'read', 'x')
      run.data(streamId, 'write', RESPONSE)
    }

    assert.deepEqual(run.urls(), ['/p complete', '/p complete'])
    assert.deepEqual(
      run.exchanges.map(({ request }) => [request.body?.size, request.body?.truncated]),
      [
        [6000, true],
        [6000, false],
      ],
    )
    assert.equal(run.table.stats().droppedBodyBytes, 5999)
    assert.equal(run.table.stats().bufferedBytes, 0)
  })

  it('reports parts as deltas while a connection is active', () => {
    const run = new TableRun()
    run.data(1n, 'read', REQUEST)
    run.table.tick(EPOCH_OFFSET_NS + 9_000_000_000n)
    assert.equal(run.parts.length, 0)
    run.table.tick(EPOCH_OFFSET_NS + 11_000_000_000n)
    run.table.tick(EPOCH_OFFSET_NS + 30_000_000_000n)
    assert.equal(run.parts.length, 1)
    run.data(1n, 'write', RESPONSE)
    run.table.closeAll()
    assert.deepEqual(
      run.parts.map(({ part, finalized, bytesRead, bytesWritten, exchanges }) => [
        part,
        finalized,
        bytesRead,
        bytesWritten,
        exchanges,
      ]),
      [
        [1, false, REQUEST.length, 0, 0],
        [2, true, 0, RESPONSE.length, 1],
      ],
    )
  })

  it('ends the connections of a process that exits', () => {
    const run = new TableRun()
    run.data(1n, 'read', REQUEST)
    run.data(2n, 'read', REQUEST)
    run.table.onEvent({ kind: 'exit', process: { pid: 42, startNs: 8n }, timeNs: 9n, status: 0 })
    assert.equal(run.table.stats().open, 2)
    run.table.onEvent({ kind: 'exit', process: { ...PROCESS }, timeNs: 9n, status: 0 })
    assert.equal(run.table.stats().open, 0)
    assert.deepEqual(run.urls(), ['/a aborted', '/a aborted'])
  })
})
