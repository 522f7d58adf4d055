import assert from 'node:assert/strict'
import { ClientError, Status } from 'nice-grpc'
import { detailsOf } from '../../common/grpc-error.js'
import type { Event } from '../../gen/cleartap/event/v1/event.js'
import { type Filter, Op, type Request, type Value } from '../../gen/cleartap/pulse/v1/query.js'
import { evaluate, readFilter } from './filter.js'
import {
  batchOf,
  helloOf,
  newStreamKey,
  type PulseFixture,
  sampleConnection,
  sampleProcess,
  sampleRequest,
  startPulseFixture,
} from './pulse.fixture.js'
import { requestFields, viewOf } from './request-fields.js'

const COUNT = 60
const ARTIFACT = {
  kind: 2,
  sha256: Buffer.alloc(32, 0xab),
  size: 18_446_744_073_709_551_615n,
  truncated: true,
  contentType: 'text/plain',
  store: 'default',
  key: 'v1/default/2026/11/23/ab',
} as const

describe('query', () => {
  let fixture: PulseFixture
  const events: Event[] = []
  const processes = [
    sampleProcess(),
    sampleProcess({
      pid: 77,
      comm: 'python3',
      exe: '/usr/bin/python3',
      user: '',
      uid: 0,
      containerId: 'f'.repeat(64),
    }),
  ]
  before(async function () {
    this.timeout(60_000)
    fixture = await startPulseFixture()
    for (let i = 0; i < COUNT; i += 1) events.push({ ...sampleRequest(i), process: i % 2 })
    events.push(oddRequest())
    const key = newStreamKey()
    const batch = batchOf(1n, [...events, sampleConnection(1)], processes)
    const { ack } = await fixture.ingest.pushBatch({ key, batch, hello: helloOf(key) })
    assert.equal(ack?.accepted, BigInt(COUNT + 2))
  })
  after(async function () {
    this.timeout(60_000)
    await fixture.remove()
  })

  const list = async (filter?: Filter, pageSize = 1000, pageToken = ''): Promise<readonly Request[]> =>
    (await fixture.query.listRequests({ filter, pageSize, pageToken })).requests

  it('gives back every field of what was sent', async () => {
    for (const event of [events[0], events[1], events.at(-1)]) {
      const { request } = await fixture.query.getRequest({ eventId: event?.eventId ?? Buffer.alloc(0) })
      assert.deepEqual(request?.event, { ...event, process: 0 })
      assert.deepEqual(request?.process, processes[event?.process ?? 0])
      assert.equal(request?.host, 'host-1')
      assert.equal(request?.agentId, '07070707-0707-0707-0707-070707070707')
      assert.ok(Math.abs(Number(request?.ingestedAt?.seconds) - Date.now() / 1000) < 60)
    }
  })

  it('says so when there is no such request', async () => {
    await assert.rejects(fixture.query.getRequest({ eventId: Buffer.alloc(16) }), (error) => {
      assert.equal(error instanceof ClientError && error.code, Status.NOT_FOUND)
      assert.equal(detailsOf(error)?.resource?.type, 'cleartap.pulse.v1.Request')
      return true
    })
    await assert.rejects(fixture.query.getRequest({ eventId: Buffer.alloc(3) }), /expected 16 bytes, got 3/)
  })

  it('pages newest first, without gaps or repeats, and counts what it read', async () => {
    const seen: string[] = []
    let pageToken = ''
    do {
      const page = await fixture.query.listRequests({ pageSize: 7, pageToken })
      assert.ok(page.requests.length <= 7)
      assert.ok((page.stats?.rowsRead ?? 0n) > 0n)
      seen.push(...page.requests.map((request) => request.event?.eventId.toString('hex') ?? ''))
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    const newestFirst = events.toSorted((a, b) => Number(b.timeUnixNano - a.timeUnixNano))
    assert.deepEqual(
      seen,
      newestFirst.map((event) => event.eventId.toString('hex')),
    )
  })

  it('refuses a page token that is forged or of another list', async () => {
    const { nextPageToken } = await fixture.query.listRequests({ pageSize: 5 })
    const forged = `${nextPageToken.startsWith('A') ? 'B' : 'A'}${nextPageToken.slice(1)}`
    const other = comparison('req.method', Op.OP_EQ, text('GET'))
    for (const request of [
      { pageSize: 5, pageToken: forged },
      { pageSize: 5, pageToken: nextPageToken, filter: other },
      { pageSize: 5, pageToken: 'x' },
      { pageSize: 5, pageToken: nextPageToken.repeat(100) },
    ]) {
      await assert.rejects(fixture.query.listRequests(request), (error) => {
        assert.equal(error instanceof ClientError && error.code, Status.INVALID_ARGUMENT)
        assert.equal(detailsOf(error)?.reason, 'PAGE_TOKEN_MISMATCH')
        return true
      })
    }
    await fixture.query.listRequests({ pageSize: 5, pageToken: nextPageToken })
  })

  it('keeps to the time range, half-open', async () => {
    const at = (i: number) => {
      const nanos = events[i]?.timeUnixNano ?? 0n
      return { seconds: nanos / 1_000_000_000n, nanos: Number(nanos % 1_000_000_000n) }
    }
    const { requests } = await fixture.query.listRequests({
      range: { start: at(10), end: at(20) },
      pageSize: 1000,
    })
    assert.deepEqual(
      requests.map((request) => request.event?.timeUnixNano).reverse(),
      events.slice(10, 20).map((event) => event.timeUnixNano),
    )
    await assert.rejects(
      fixture.query.listRequests({ range: { start: at(20), end: at(10) } }),
      /start <= end/,
    )
  })

  it('filters in ClickHouse and in memory alike', async function () {
    this.timeout(30_000)
    const all = (await list()).map((request) => ({ request, view: viewOf(request) }))
    for (const [filter, expected] of filters()) {
      const name = JSON.stringify(filter, (_key, value) => (typeof value === 'bigint' ? `${value}` : value))
      const found = (await list(filter)).map((request) => request.event?.eventId.toString('hex'))
      const predicate = readFilter(filter)
      const matching = all.filter(({ view }) => view !== undefined && evaluate(predicate, view))
      assert.deepEqual(
        found,
        matching.map(({ request }) => request.event?.eventId.toString('hex')),
        name,
      )
      if (expected !== undefined) assert.equal(found.length, expected, name)
    }
  })

  it('has every field of the dictionary in the table', async function () {
    this.timeout(30_000)
    for (const name of requestFields.keys()) await list(comparison(name, Op.OP_EXISTS))
  })

  it('matches regular expressions in lists, and refuses bad ones', async () => {
    assert.equal((await list(comparison('req.path', Op.OP_MATCHES, text('/items/1.$')))).length, 10)
    await assert.rejects(list(comparison('req.path', Op.OP_MATCHES, text('(['))), /RE2/)
  })

  it('refuses what is not a filter, and says what is accepted', async () => {
    const nested = (depth: number): Filter =>
      depth === 0
        ? comparison('req.method', Op.OP_EQ, text('GET'))
        : { node: { $case: 'not', value: { filter: nested(depth - 1) } } }
    const bad: [Filter, RegExp][] = [
      [comparison('req.verb', Op.OP_EQ, text('GET')), /"req.verb" is not known; there are req.method, /],
      [comparison('res.status', Op.OP_EQ, text('200')), /res.status: expected an integer, got text/],
      [comparison('res.status', Op.OP_PREFIX, integer(2n)), /EQ NE IN LT LE GT GE EXISTS/],
      [comparison('req.method', Op.OP_EQ), /expected one value, got 0/],
      [comparison('req.method', Op.OP_LT, text('a')), /EQ NE IN PREFIX CONTAINS MATCHES EXISTS/],
      [comparison('dst.ip', Op.OP_EQ, text('1.2.3')), /expected an IP address/],
      [comparison('dst.ip', Op.OP_CIDR, text('10.0.0.0/33')), /expected an IP network/],
      [comparison('event.id', Op.OP_EQ, text("' OR 1=1")), /expected 32 hex digits/],
      [comparison('conn.direction', Op.OP_EQ, text('up')), /expected one of unspecified, ingress, egress/],
      [{ node: { $case: 'and', value: { filters: [] } } }, /expected filters inside and/],
      [nested(17), /at most 16 levels/],
    ]
    for (const [filter, message] of bad) {
      await assert.rejects(list(filter), (error) => {
        assert.equal(error instanceof ClientError && error.code, Status.INVALID_ARGUMENT)
        assert.match(error instanceof ClientError ? error.details : '', message)
        return true
      })
    }
    await assert.rejects(list(undefined, 1001), /expected 1 to 1000, got 1001/)
  })

  it('counts in equal steps', async () => {
    const start = { seconds: 1_795_000_000n, nanos: 0 }
    const range = { start, end: { seconds: 1_795_000_003n, nanos: 0 } }
    const { points } = await fixture.query.queryTimeseries({ range, step: { seconds: 1n, nanos: 0 } })
    assert.deepEqual(
      points.map(({ requests, errors }) => [requests, errors]),
      [
        [BigInt(COUNT), 6n],
        [0n, 0n],
        [0n, 0n],
      ],
    )
    assert.equal(points[0]?.requestBytes, 431n * BigInt(COUNT))
    assert.ok((points[0]?.durationP99Nano ?? 0n) >= (points[0]?.durationP50Nano ?? 0n))
    assert.deepEqual(points[1]?.start, { seconds: 1_795_000_001n, nanos: 0 })
    const tooMany = {
      range: { start, end: { seconds: 1_795_100_000n, nanos: 0 } },
      step: { seconds: 1n, nanos: 0 },
    }
    await assert.rejects(fixture.query.queryTimeseries(tooMany), /at most 10000 points/)
  })
})

/** Empty, unknown, IPv6, no response, every string odd. */
function oddRequest(): Event {
  const odd = "it's\n\n\\ \t\0 ünïcødé 🙂 %_"
  return sampleRequest(COUNT + 5000, {
    peer: {
      confidence: 1,
      direction: 1,
      localAddress: Buffer.alloc(0),
      localPort: 0,
      remoteAddress: Buffer.from('20010db80000000000000000000000ff', 'hex'),
      remotePort: 65_535,
    },
    method: 'BREW',
    host: odd,
    path: odd,
    query: '',
    status: 0,
    userAgent: odd,
    responseBytes: 18_446_744_073_709_551_615n,
    completeness: 3,
    bytesLost: 9n,
    traceId: Buffer.alloc(0),
    spanId: Buffer.alloc(0),
    artifacts: [ARTIFACT, { ...ARTIFACT, kind: 3, truncated: false, contentType: '' }],
  })
}

/** Filters, with how many match where that is said. */
function filters(): [Filter | undefined, number?][] {
  const get = comparison('req.method', Op.OP_EQ, text('GET'))
  const failed = comparison('res.status', Op.OP_GE, integer(500n))
  return [
    [undefined, COUNT + 1],
    [get, 40],
    [failed, 6],
    [{ node: { $case: 'and', value: { filters: [get, failed] } } }, 4],
    [{ node: { $case: 'or', value: { filters: [get, failed] } } }, 42],
    [{ node: { $case: 'not', value: { filter: get } } }, 21],
    [comparison('req.method', Op.OP_NE, text('GET')), 21],
    [comparison('req.method', Op.OP_IN, text('BREW'), text('POST')), 21],
    [comparison('req.path', Op.OP_PREFIX, text('/v1/items/1')), 11],
    [comparison('req.path', Op.OP_CONTAINS, text('items/5')), 11],
    [comparison('req.path', Op.OP_CONTAINS, text("'s\n\n\\ \t\0 ü")), 1],
    [comparison('req.path', Op.OP_EQ, text("it's\n\n\\ \t\0 ünïcødé 🙂 %_")), 1],
    [comparison('req.path', Op.OP_CONTAINS, text('%')), 1],
    [comparison('req.path', Op.OP_EQ, text("' OR true --")), 0],
    [comparison('req.host', Op.OP_IN, text("it's\n\n\\ \t\0 ünïcødé 🙂 %_"), text('x')), 1],
    [comparison('res.status', Op.OP_EXISTS), COUNT],
    [comparison('res.status', Op.OP_LT, integer(1n)), 1],
    [comparison('res.status', Op.OP_GT, integer(-5n)), COUNT + 1],
    [comparison('res.status', Op.OP_IN, integer(200n), integer(0n), integer(-1n)), 55],
    [comparison('res.bytes', Op.OP_GT, integer(9_223_372_036_854_775_807n)), 1],
    [comparison('res.bytes', Op.OP_NE, integer(-1n)), COUNT + 1],
    [comparison('proc.exe', Op.OP_EQ, text('/usr/bin/python3')), 30],
    [comparison('proc.pid', Op.OP_EQ, integer(77n)), 30],
    [comparison('proc.uid', Op.OP_EXISTS), 31],
    [comparison('proc.user', Op.OP_EXISTS), 31],
    [comparison('dst.ip', Op.OP_EQ, text('93.184.216.34')), COUNT],
    [comparison('dst.ip', Op.OP_NE, text('93.184.216.34')), 1],
    [comparison('dst.ip', Op.OP_EXISTS), COUNT],
    [comparison('dst.ip', Op.OP_CIDR, text('93.184.0.0/16'))],
    [comparison('dst.ip', Op.OP_CIDR, text('::/0')), COUNT + 1],
    [comparison('dst.ip', Op.OP_CIDR, text('0.0.0.0/0')), COUNT],
    [comparison('src.ip', Op.OP_CIDR, text('2001:db8::/32')), 1],
    [comparison('src.ip', Op.OP_EQ, text('2001:db8::ff')), 1],
    [comparison('src.ip', Op.OP_IN, text('10.0.0.5'), text('2001:db8::ff')), COUNT + 1],
    [comparison('src.port', Op.OP_GE, integer(50_000n)), 1],
    [comparison('dst.port', Op.OP_EQ, integer(443n)), COUNT],
    [comparison('trace.id', Op.OP_EQ, text('4bf92f3577b34da6a3ce929d0e0e4736')), COUNT],
    [comparison('trace.id', Op.OP_NE, text('4bf92f3577b34da6a3ce929d0e0e4736')), 1],
    [comparison('trace.id', Op.OP_EXISTS), COUNT],
    [comparison('span.id', Op.OP_EQ, text('00F067AA0BA902B7')), COUNT],
    [comparison('agent.id', Op.OP_EQ, text('07070707-0707-0707-0707-070707070707')), COUNT + 1],
    [comparison('conn.direction', Op.OP_EQ, text('ingress')), 1],
    [comparison('conn.confidence', Op.OP_IN, text('exact'), text('unknown')), COUNT + 1],
    [comparison('completeness', Op.OP_NE, text('complete')), 1],
    [comparison('completeness', Op.OP_EXISTS), COUNT + 1],
    [comparison('duration_ns', Op.OP_LE, integer(2_500_009n)), 10],
  ]
}

function comparison(field: string, op: Op, ...values: Value[]): Filter {
  return { node: { $case: 'comparison', value: { field, op, values } } }
}

function text(value: string): Value {
  return { kind: { $case: 'text', value } }
}

function integer(value: bigint): Value {
  return { kind: { $case: 'integer', value } }
}
