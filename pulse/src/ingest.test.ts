import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32, gzipSync, zstdCompressSync } from 'node:zlib'
import { ClientError, Status } from 'nice-grpc'
import { detailsOf } from '../../common/grpc-error.js'
import { Compression } from '../../gen/cleartap/event/v1/compression.js'
import type { EventBatch } from '../../gen/cleartap/pulse/v1/ingest.js'
import {
  batchOf,
  countRows,
  helloOf,
  newId,
  newStreamKey,
  openAgentStream,
  type PulseFixture,
  sampleConnection,
  sampleProcess,
  sampleRequest,
  startPulseFixture,
} from './pulse.fixture.js'

describe('ingest', () => {
  let fixture: PulseFixture
  before(async function () {
    this.timeout(60_000)
    fixture = await startPulseFixture()
  })
  after(async function () {
    this.timeout(60_000)
    await fixture.remove()
  })

  it('stores a pushed batch and acknowledges it', async () => {
    const key = newStreamKey()
    const batch = batchOf(1n, [sampleRequest(1), sampleConnection(1)])
    const { ack, nack, credit } = await fixture.ingest.pushBatch({ key, batch, hello: helloOf(key) })
    assert.equal(nack, undefined)
    assert.equal(ack?.committedThrough, 1n)
    assert.equal(ack?.accepted, 2n)
    assert.ok((credit?.maxInflightBatches ?? 0) > 0)
    assert.equal(await countRows(fixture, 'requests', key), 1)
    assert.equal(await countRows(fixture, 'connections', key), 1)
  })

  it('welcomes a stream, acknowledges cumulatively and says how far it is', async () => {
    const key = newStreamKey()
    const agent = openAgentStream(fixture.ingest, helloOf(key))
    const welcome = await agent.next()
    assert.equal(welcome.$case, 'welcome')
    assert.equal(welcome.$case === 'welcome' && welcome.value.committedThrough, 0n)
    for (let sequence = 1n; sequence <= 30n; sequence += 1n) {
      agent.batch(batchOf(sequence, [sampleRequest(Number(sequence)), sampleRequest(100)]))
    }
    const acks = (await agent.ackedThrough(30n)).filter((message) => message.$case === 'ack')
    assert.equal(
      acks.reduce((sum, { value }) => sum + value.accepted, 0n),
      60n,
    )
    await agent.leave()
    assert.equal(await countRows(fixture, 'requests', key), 60)
    assert.deepEqual(await fixture.ingest.getStreamPosition({ key }), { committedThrough: 30n })
  })

  it('stores a batch once however often it comes', async function () {
    this.timeout(30_000)
    const key = newStreamKey()
    const agent = openAgentStream(fixture.ingest, helloOf(key))
    const batch = batchOf(1n, [sampleRequest(1), sampleConnection(1), sampleRequest(2)])
    for (let i = 0; i < 1000; i += 1) agent.batch(batch)
    agent.batch(batchOf(2n, [sampleRequest(3)]))
    const acks = (await agent.ackedThrough(2n)).filter((message) => message.$case === 'ack')
    assert.equal(
      acks.reduce((sum, { value }) => sum + value.duplicates, 0n),
      999n * 3n,
    )
    await agent.leave()
    assert.equal(await countRows(fixture, 'requests', key), 3)
    assert.equal(await countRows(fixture, 'connections', key), 1)
  })

  it('refuses an undeclared hole with the number that it expects', async () => {
    const key = newStreamKey()
    await fixture.ingest.pushBatch({ key, batch: batchOf(1n, [sampleRequest(1)]), hello: helloOf(key) })
    const gap = fixture.ingest.pushBatch({ key, batch: batchOf(5n, [sampleRequest(5)]), hello: helloOf(key) })
    await assert.rejects(gap, (error) => {
      assert.equal(error instanceof ClientError && error.code, Status.OUT_OF_RANGE)
      assert.equal(detailsOf(error)?.reason, 'SEQUENCE_GAP')
      assert.deepEqual(detailsOf(error)?.metadata, { expected: '2', got: '5' })
      return true
    })
  })

  it('passes declared holes, and remembers them', async function () {
    this.timeout(60_000)
    const key = newStreamKey()
    await fixture.ingest.pushBatch({ key, batch: batchOf(1n, [sampleRequest(1)]), hello: helloOf(key) })
    const hello = helloOf(key, { holes: [{ first: 2n, last: 64n, reason: 1 }] })
    const { ack } = await fixture.ingest.pushBatch({ key, batch: batchOf(65n, [sampleRequest(65)]), hello })
    assert.equal(ack?.committedThrough, 65n)
    assert.equal(await countRows(fixture, 'ingest_holes', key), 1)
    await fixture.ingest.pushBatch({ key, batch: batchOf(66n, [sampleRequest(66)]), hello })
    assert.equal(await countRows(fixture, 'ingest_holes', key), 1)
  })

  it('starts an unknown stream at what the agent still has', async () => {
    const key = newStreamKey()
    const hello = helloOf(key, { firstAvailableSequence: 41n, nextSequence: 42n })
    const { ack } = await fixture.ingest.pushBatch({ key, batch: batchOf(41n, [sampleRequest(1)]), hello })
    assert.equal(ack?.committedThrough, 41n)
  })

  it('fences off an older epoch and an older connection', async () => {
    const key = newStreamKey()
    const first = openAgentStream(fixture.ingest, helloOf(key))
    await first.next()
    const second = openAgentStream(fixture.ingest, helloOf({ ...key, epoch: 2n }))
    await second.next()
    await assert.rejects(
      () => first.next(),
      (error) => error instanceof ClientError && error.code === Status.ABORTED,
    )
    const old = fixture.ingest.pushBatch({ key, batch: batchOf(1n, [sampleRequest(1)]), hello: helloOf(key) })
    await assert.rejects(old, (error) => {
      assert.equal(error instanceof ClientError && error.code, Status.ABORTED)
      assert.equal(detailsOf(error)?.reason, 'OLD_EPOCH')
      return true
    })
    await second.leave()
  })

  it('takes gzip and zstd', async () => {
    const key = newStreamKey()
    const plain = batchOf(1n, [sampleRequest(1)])
    const second = batchOf(2n, [sampleRequest(2)])
    const zstd = {
      ...plain,
      payload: zstdCompressSync(plain.payload),
      compression: Compression.COMPRESSION_ZSTD,
    }
    const gzip = { ...second, payload: gzipSync(second.payload), compression: Compression.COMPRESSION_GZIP }
    await fixture.ingest.pushBatch({ key, batch: zstd, hello: helloOf(key) })
    const { ack } = await fixture.ingest.pushBatch({ key, batch: gzip, hello: helloOf(key) })
    assert.equal(ack?.accepted, 1n)
    assert.equal(await countRows(fixture, 'requests', key), 2)
  })

  it('quarantines what it cannot decode, and goes on', async () => {
    const good = batchOf(1n, [sampleRequest(1)])
    const zeros = Buffer.alloc(64 * 1024 * 1024)
    const bad: [string, EventBatch][] = [
      ['has CRC-32', { ...good, crc32: (good.crc32 ^ 1) >>> 0 }],
      ['event_count is 2', { ...good, eventCount: 2 }],
      ['runs over the end', truncated(good)],
      ['does not inflate', { ...good, compression: Compression.COMPRESSION_GZIP }],
      ['is not known', { ...good, compression: 99 as never }],
      [
        'does not inflate within',
        { ...good, compression: Compression.COMPRESSION_ZSTD, payload: zstdCompressSync(zeros) },
      ],
      [
        'does not inflate within',
        { ...good, compression: Compression.COMPRESSION_GZIP, payload: gzipSync(zeros) },
      ],
    ]
    const key = newStreamKey()
    const agent = openAgentStream(fixture.ingest, helloOf(key))
    await agent.next()
    for (const [i, [reason, batch]] of bad.entries()) {
      const sequence = BigInt(i + 1)
      agent.batch({ ...batch, sequence })
      const seen = await agent.ackedThrough(sequence)
      const nack = seen.find((message) => message.$case === 'nack')?.value
      assert.equal(nack?.sequence, sequence)
      assert.equal(nack?.quarantine, true)
      assert.match(nack?.status?.message ?? '', new RegExp(reason))
    }
    agent.batch(batchOf(BigInt(bad.length + 1), [sampleRequest(1)]))
    await agent.ackedThrough(BigInt(bad.length + 1))
    await agent.leave()
    assert.equal(await countRows(fixture, 'requests', key), 1)
    const parked = await readdir(join(fixture.dataDir, 'dead-letters'))
    const own = parked.filter((name) => name.startsWith(Buffer.from(key.streamId).toString('hex')))
    assert.equal(own.length, bad.length)
  })

  it('leaves bad events out of a good batch and says why', async () => {
    const key = newStreamKey()
    const events = [
      sampleRequest(0),
      { ...sampleRequest(1), eventId: Buffer.alloc(5) },
      sampleRequest(2, { status: 70_000 }),
      sampleRequest(3, { path: 'x'.repeat(65_537) }),
      sampleRequest(4, { connectionId: Buffer.alloc(0) }),
      sampleRequest(5, { completeness: 9 as never }),
      sampleRequest(6, { traceId: Buffer.alloc(3) }),
      { ...sampleRequest(7), process: 3 },
      { ...sampleRequest(8), process: 1 },
      { ...sampleRequest(9), kind: undefined },
      { ...sampleRequest(10), timeUnixNano: 1n << 63n },
      sampleRequest(11, { artifacts: Array.from({ length: 17 }, () => artifact(32)) }),
      sampleRequest(12, { artifacts: [artifact(31)] }),
      sampleRequest(13),
    ]
    const processes = [sampleProcess(), sampleProcess({ comm: 'c'.repeat(1025) })]
    const { ack } = await fixture.ingest.pushBatch({
      key,
      batch: batchOf(1n, events, processes),
      hello: helloOf(key),
    })
    assert.equal(ack?.accepted, 2n)
    assert.deepEqual(
      ack?.rejected.map(({ index, field, reason }) => `${index} ${field}: ${reason}`),
      [
        '1 event_id: expected 16 bytes, got 5',
        '2 status: expected at most 65535, got 70000',
        '3 path: expected at most 65536 bytes, got 65537',
        '4 connection_id: expected 16 bytes, got 0',
        '5 completeness: expected 0 to 3, got 9',
        '6 trace_id: expected 16 bytes or none, got 3',
        '7 process: expected less than 2',
        '8 comm: expected at most 1024 bytes, got 1025',
        '9 kind: expected a connection or an HTTP request',
        '10 ts: expected a time before the year 2262, got 9223372036854775808',
        '11 artifacts: expected at most 16, got 17',
        '12 artifacts.sha256: expected 32 bytes, got 31',
      ],
    )
    assert.equal(await countRows(fixture, 'requests', key), 2)
  })

  it('refuses a stream id or agent id that is none, and a stream without hello', async () => {
    const refused = (error: unknown) => error instanceof ClientError && error.code === Status.INVALID_ARGUMENT
    const key = newStreamKey()
    const batch = batchOf(1n, [sampleRequest(1)])
    const short = { streamId: Buffer.alloc(3), epoch: 1n }
    await assert.rejects(fixture.ingest.pushBatch({ key: short, batch, hello: undefined }), refused)
    const hello = helloOf(key, { agentId: newId().subarray(1) })
    await assert.rejects(fixture.ingest.pushBatch({ key, batch, hello }), refused)
    async function* noHello() {
      yield { message: { $case: 'batch', value: batch } as const }
    }
    await assert.rejects(async () => {
      for await (const _ of fixture.ingest.ingest(noHello()));
    }, refused)
  })
})

function truncated(batch: EventBatch): EventBatch {
  const cut = batchOf(1n, [sampleRequest(1)])
  return { ...batch, ...rechecked(cut.payload.subarray(0, cut.payload.length - 3)) }
}

function rechecked(payload: Buffer): { payload: Buffer; crc32: number } {
  return { payload, crc32: crc32(payload) }
}

function artifact(hashBytes: number) {
  return {
    kind: 1,
    sha256: Buffer.alloc(hashBytes),
    size: 1n,
    truncated: false,
    contentType: '',
    store: '',
    key: '',
  } as const
}
