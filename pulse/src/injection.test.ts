import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import type { Event, HttpRequest, Process } from '../../gen/cleartap/event/v1/event.js'
import {
  batchOf,
  helloOf,
  newStreamKey,
  type PulseFixture,
  sampleProcess,
  sampleRequest,
  startPulseFixture,
} from './pulse.fixture.js'

/** Texts that would do harm where text is taken for a statement, a row's end or a path. */
const HOSTILE = [
  '\n\nDROP TABLE cleartap.requests\n\n',
  "'; DROP TABLE cleartap.requests; --",
  "') FORMAT TSV\n\nALTER TABLE cleartap.requests DELETE WHERE 1",
  '\0\n\n\0SELECT 1',
  '\n\nINSERT INTO cleartap.requests SELECT * FROM cleartap.requests',
  '{p0:String} $x$ \\N \\x00 `a` "b" /* c -- d',
  "' UNION ALL SELECT * FROM file('/etc/passwd')",
  '\u2028\u2029\ufeff\u202e🙂\u{10ffff}',
  '../../../../etc/passwd',
]

const TEXTS_OF_REQUEST = [
  'protocol',
  'tlsLibrary',
  'method',
  'scheme',
  'host',
  'path',
  'query',
  'requestContentType',
  'responseContentType',
  'userAgent',
] as const satisfies readonly (keyof HttpRequest)[]
const TEXTS_OF_PROCESS = [
  'comm',
  'exe',
  'user',
  'containerId',
  'cgroup',
] as const satisfies readonly (keyof Process)[]

describe('injection', () => {
  let fixture: PulseFixture
  before(async function () {
    this.timeout(60_000)
    fixture = await startPulseFixture()
  })
  after(async function () {
    this.timeout(60_000)
    await fixture.remove()
  })

  const push = async (events: readonly Event[], process: Process, host: string) => {
    const key = newStreamKey()
    const { ack } = await fixture.ingest.pushBatch({
      key,
      batch: batchOf(1n, events, [process]),
      hello: helloOf(key, { host }),
    })
    assert.equal(ack?.accepted, BigInt(events.length))
  }
  /** Everything in the database but the rows that ingest adds. */
  const state = async () => {
    const { clickhouse } = fixture.pulse.store
    const sql = [
      "SELECT database, name, create_table_query FROM system.tables WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') ORDER BY ALL",
      'SELECT number, name, checksum FROM cleartap.schema_migrations ORDER BY ALL',
      'SELECT count() FROM cleartap.connections',
    ]
    return await Promise.all(sql.map(async (each) => (await clickhouse.query(each)).rows))
  }
  const count = async () =>
    Number((await fixture.pulse.store.clickhouse.query('SELECT count() FROM cleartap.requests')).rows[0]?.[0])

  it('stores hostile text in every field as it is, and runs none of it', async function () {
    this.timeout(30_000)
    const before = await state()
    const rowsBefore = await count()
    for (const text of HOSTILE) {
      const event = hostileRequest(text)
      const process = sampleProcess(Object.fromEntries(TEXTS_OF_PROCESS.map((field) => [field, text])))
      await push([event], process, text)
      const { request } = await fixture.query.getRequest({ eventId: event.eventId })
      assert.deepEqual(request?.event, event)
      assert.deepEqual(request?.process, process)
      assert.equal(request?.host, text)
    }
    assert.deepEqual(await state(), before)
    assert.equal(await count(), rowsBefore + HOSTILE.length)
  })

  it('stores any text as it is', async function () {
    this.timeout(60_000)
    const texts = fc.array(fc.string({ unit: 'binary', maxLength: 200 }), { minLength: 1, maxLength: 50 })
    await fc.assert(
      fc.asyncProperty(texts, async (sample) => {
        const events = sample.map((text) => hostileRequest(text.toWellFormed()))
        await push(events, sampleProcess(), 'host-1')
        for (const event of events.slice(0, 2)) {
          const { request } = await fixture.query.getRequest({ eventId: event.eventId })
          assert.deepEqual(request?.event, event)
        }
      }),
      { numRuns: 12, seed: 7 },
    )
  })

  it('refuses text that is not UTF-8', async () => {
    const event = sampleRequest(1, { path: 'PLACEHOLDER' })
    const batch = batchOf(1n, [event])
    const at = batch.payload.indexOf('PLACEHOLDER')
    batch.payload[at] = 0xff
    const key = newStreamKey()
    const { ack } = await fixture.ingest.pushBatch({
      key,
      batch: { ...batch, crc32: crc32(batch.payload) },
      hello: helloOf(key),
    })
    assert.deepEqual(
      ack?.rejected.map(({ field, reason }) => [field, reason]),
      [['path', 'expected UTF-8']],
    )
  })
})

function hostileRequest(text: string): Event {
  return sampleRequest(1, {
    ...Object.fromEntries(TEXTS_OF_REQUEST.map((field) => [field, text])),
    artifacts: [
      {
        kind: 1,
        sha256: Buffer.alloc(32, 10),
        size: 1n,
        truncated: false,
        contentType: text,
        store: text,
        key: text,
      },
    ],
  })
}
