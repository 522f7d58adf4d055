import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { startSpan } from '../../common/tracing.js'
import { type Filter, Op, type TailEventsResponse } from '../../gen/cleartap/pulse/v1/query.js'
import { Block } from './clickhouse/block.js'
import { readFilter } from './filter.js'
import {
  batchOf,
  helloOf,
  newStreamKey,
  type PulseFixture,
  sampleConnection,
  sampleRequest,
  startPulseFixture,
} from './pulse.fixture.js'
import { Tail } from './tail.js'
import { TailFeed } from './tail-feed.js'
import { TokenSigner } from './tokens.js'

const FAILED: Filter = {
  node: {
    $case: 'comparison',
    value: { field: 'res.status', op: Op.OP_GE, values: [{ kind: { $case: 'integer', value: 500n } }] },
  },
}

describe('tail', () => {
  let fixture: PulseFixture
  before(async function () {
    this.timeout(60_000)
    fixture = await startPulseFixture()
  })
  after(async function () {
    this.timeout(60_000)
    await fixture.remove()
  })

  it('shows committed requests that match, in order, and resumes where a reader left', async function () {
    this.timeout(30_000)
    const key = newStreamKey()
    const push = (sequence: bigint, from: number) => {
      const events = Array.from({ length: 20 }, (_, i) => sampleRequest(from + i))
      const bad = sampleRequest(from, { status: 99_999 })
      const batch = batchOf(sequence, [sampleConnection(1), bad, ...events])
      return fixture.ingest.pushBatch({ key, batch, hello: helloOf(key) })
    }
    const first = await readTail(fixture, '', 4, async () => {
      await push(1n, 0)
      await push(2n, 20)
    })
    assert.deepEqual(
      first.paths,
      [0, 10, 20, 30].map((i) => `/v1/items/${i}`),
    )
    await push(3n, 40)
    const { request } = await fixture.query.getRequest({ eventId: first.eventIds[0] ?? Buffer.alloc(0) })
    assert.deepEqual(first.requests[0], request)
    const second = await readTail(fixture, first.tokens[1] ?? '', 6, () => push(4n, 60))
    assert.deepEqual(
      second.paths,
      [20, 30, 40, 50, 60, 70].map((i) => `/v1/items/${i}`),
    )
  })

  it('refuses a token that it did not make, and a regular expression', async () => {
    const read = async (request: { resumeToken?: string; filter?: Filter }) => {
      for await (const _ of fixture.query.tailEvents(request));
    }
    await assert.rejects(read({ resumeToken: 'AAAA' }), /expected a token from an answer/)
    const node: Filter['node'] = {
      $case: 'comparison',
      value: { field: 'req.path', op: Op.OP_MATCHES, values: [{ kind: { $case: 'text', value: 'a+' } }] },
    }
    await assert.rejects(read({ filter: { node } }), /MATCHES is not for tails/)
  })

  it('counts what a slow reader misses, and holds no more than its queue', async () => {
    const dropped: number[] = []
    const feed = new TailFeed(0n, (count) => dropped.push(count))
    const signer = new TokenSigner(Buffer.alloc(32, 1))
    const { clickhouse, database } = fixture.pulse.store
    const tail = new Tail({ clickhouse, database, org: 'default', tokens: signer, feed })
    const abort = new AbortController()
    const request = { filter: undefined, maxEventsPerSecond: 1_000_000, resumeToken: '' }
    let isAccepted = false
    const responses = tail.follow(request, abort.signal, () => {
      isAccepted = true
    })
    const first = responses.next()
    assert.ok(isAccepted, 'the tail is open before its first item')
    publish(feed, 1n, 5000)
    await first
    publish(feed, 2n, 5000)
    let requests = 1
    let missed = 0n
    while (missed === 0n) {
      const { value } = await responses.next()
      if (value?.item?.$case === 'request') requests += 1
      else if (value?.item?.$case === 'dropped') missed = value.item.value.count
      else assert.fail(`got ${value?.item?.$case}`)
    }
    assert.equal(BigInt(requests) + missed, 10_000n)
    assert.ok(requests <= 2001)
    assert.equal(dropped.length, Number(missed))
    publish(feed, 3n, 1)
    const { value } = await responses.next()
    assert.equal(value?.item?.$case, 'request')
    abort.abort()
    assert.equal((await responses.next()).done, true)
    assert.equal(feed.readers, 0)
  })

  it('keeps to a rate', async () => {
    const feed = new TailFeed(0n, () => undefined)
    const subscription = feed.subscribe(readFilter(undefined), 10)
    publish(feed, 1n, 100)
    const signal = new AbortController().signal
    const kinds: string[] = []
    for (let i = 0; i < 11; i += 1) kinds.push((await subscription.take(100, signal)).kind)
    assert.deepEqual(kinds, [...new Array(10).fill('request'), 'dropped'])
    assert.equal((await subscription.take(10, signal)).kind, 'idle')
    subscription.close()
  })
})

/** Publishes a block of `count` requests, as if committed. */
function publish(feed: TailFeed, micros: bigint, count: number): void {
  const block = new Block(micros)
  const { payload } = batchOf(
    1n,
    Array.from({ length: count }, (_, i) => sampleRequest(i)),
  )
  block.batches.push({
    streamId: Buffer.alloc(16),
    epoch: 1n,
    sequence: micros,
    payloadCrc32: 0,
    accepted: count,
    rejected: 0,
    lost: 0n,
    payload,
    refused: [],
    agentId: Buffer.alloc(16),
    agentHost: 'host-1',
    span: startSpan('test'),
    onCommit: () => undefined,
  })
  feed.publish(block)
}

/** Reads `count` failed requests; `act` runs when the tail is open. */
async function readTail(
  fixture: PulseFixture,
  resumeToken: string,
  count: number,
  act: () => Promise<unknown>,
) {
  const abort = new AbortController()
  const seen: TailEventsResponse[] = []
  const reading = (async () => {
    const request = { filter: FAILED, resumeToken }
    for await (const response of fixture.query.tailEvents(request, { signal: abort.signal })) {
      if (response.item?.$case === 'request') seen.push(response)
      if (seen.length === count) abort.abort()
    }
  })().catch((error: unknown) => {
    if (!(error instanceof Error && error.name === 'AbortError')) throw error
  })
  await sleep(200)
  await act()
  await reading
  const requests = seen.map(({ item }) => (item?.$case === 'request' ? item.value : undefined))
  return {
    requests,
    tokens: seen.map((response) => response.resumeToken),
    eventIds: requests.map((request) => request?.event?.eventId ?? Buffer.alloc(0)),
    paths: requests.map((request) =>
      request?.event?.kind?.$case === 'httpRequest' ? request.event.kind.value.path : undefined,
    ),
  }
}
