import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { crc32, zstdDecompressSync } from 'node:zlib'
import { uuidv7obj } from 'uuidv7'
import { sinkSchema } from '../../../../common/config/schema.js'
import { createLogger } from '../../../../common/log.js'
import { Event, HttpRequest, Process } from '../../../../gen/cleartap/event/v1/event.js'
import { LossReason } from '../../../../gen/cleartap/pulse/v1/ingest.js'
import type { EventRecord } from '../sink.js'
import { type Answer, decode, ScriptedPulse } from './scripted-pulse.js'
import { PulseSink } from './sink.js'

const PROCESSES = [1, 2].map((pid) => Process.fromPartial({ pid }))
const log = createLogger('test', { level: 'error', format: 'text', destination: { write: () => {} } })
const identity = { agentId: uuidv7obj().bytes, version: '0.0.0', host: 'test' }

let made = 0
function recordOf(path = '/'): EventRecord {
  const process = PROCESSES[made++ % 2]
  assert.ok(process)
  const event = Event.fromPartial({
    eventId: Buffer.from(uuidv7obj().bytes),
    timeUnixNano: BigInt(made),
    kind: { $case: 'httpRequest', value: HttpRequest.fromPartial({ path }) },
  })
  return { event, process }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    assert.ok(Date.now() < deadline, 'waited for 10 s')
    await delay(5)
  }
}

describe('PulseSink', () => {
  let directory: string
  let pulse: ScriptedPulse
  let sinks: PulseSink[]
  const ids: string[] = []

  const openSink = (settings: Record<string, unknown> = {}): PulseSink => {
    const config = sinkSchema.parse({
      type: 'pulse',
      address: `127.0.0.1:${pulse.port}`,
      max_batch_events: 10,
      flush_interval_ms: 5,
      ...settings,
    })
    assert.ok(config.type === 'pulse')
    const sink = new PulseSink(config, { identity, directory, log })
    sinks.push(sink)
    return sink
  }
  const write = (sink: PulseSink, count: number): void => {
    for (let index = 0; index < count; index++) {
      const record = recordOf()
      ids.push(record.event.eventId.toString('hex'))
      sink.write(record)
    }
  }

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cleartap-sink-'))
    sinks = []
    ids.length = 0
    pulse = new ScriptedPulse()
    await pulse.start()
  })
  afterEach(async () => {
    for (const sink of sinks) await sink.close(0)
    pulse.stop()
    rmSync(directory, { recursive: true })
  })

  it('delivers every event once, in order, in batches whose sums are right, and keeps no file', async () => {
    const sink = openSink()
    write(sink, 995)
    await sink.close(5000)
    assert.deepEqual(pulse.eventIds(), ids)
    assert.equal(pulse.goodbyes, 1)
    for (const batch of pulse.batches) {
      assert.equal(crc32(zstdDecompressSync(batch.payload)), batch.crc32)
      const { processes, events } = decode(batch)
      assert.equal(events.length, batch.eventCount)
      assert.ok(processes.length <= 2)
      for (const event of events) {
        assert.equal(processes[event.process]?.pid, Number((event.timeUnixNano - 1n) % 2n) + 1)
        assert.ok(event.timeUnixNano >= batch.firstUnixNano && event.timeUnixNano <= batch.lastUnixNano)
      }
    }
    assert.equal(sink.stats().ackedEvents, 995)
    assert.deepEqual(readdirSync(directory), ['stream.json'])
  })

  it('sends nothing without credit, and keeps to it', async () => {
    pulse.credit = { maxInflightBatches: 0, maxInflightBytes: 0n }
    const sink = openSink()
    write(sink, 200)
    await until(() => sink.stats().batches === 20 && sink.stats().connected)
    await delay(50)
    assert.equal(pulse.batches.length, 0)
    pulse.answer = () => 'silence'
    pulse.grantCredit()
    await until(() => pulse.batches.length === 4)
    await delay(50)
    assert.equal(pulse.batches.length, 4)
  })

  it('resumes where Pulse has committed when the connection breaks in the middle', async () => {
    const answers: Answer[] = ['ack', 'silence', 'drop', 'ack', 'drop']
    pulse.answer = () => answers.shift() ?? 'ack'
    const sink = openSink()
    write(sink, 200)
    await until(() => sink.stats().spool.ackedThrough === 20)
    assert.deepEqual(pulse.eventIds(), ids)
    assert.deepEqual(pulse.sequences().slice(0, 5), [1, 2, 3, 2, 3])
    assert.equal(pulse.hellos.length, 3)
    assert.equal(sink.stats().failedSessions, 2)
    assert.equal(sink.stats().ackedEvents, 200)
  })

  it('deletes nothing for an ack of what was never sent, and asks anew', async () => {
    pulse.answer = ({ sequence }) => (sequence === 3n ? 'ack_far' : 'ack')
    const sink = openSink()
    write(sink, 200)
    await until(() => sink.stats().spool.ackedThrough === 20)
    assert.deepEqual(pulse.eventIds(), ids)
    assert.equal(pulse.hellos.length, 2)
  })

  for (const answer of ['ack_twice', 'ack_back'] as const) {
    it(`stays right when Pulse answers ${answer}`, async () => {
      pulse.answer = ({ sequence }) => (sequence < 10n ? answer : 'ack')
      const sink = openSink()
      write(sink, 200)
      await until(() => sink.stats().spool.ackedThrough === 20)
      assert.deepEqual(pulse.eventIds(), ids)
      assert.equal(pulse.hellos.length, 1)
      assert.equal(sink.stats().ackedEvents, 200)
    })
  }

  it('goes on after a batch that is refused for good, and counts it', async () => {
    pulse.answer = ({ sequence }) => (sequence === 3n ? 'nack' : 'ack')
    const sink = openSink()
    write(sink, 100)
    await until(() => sink.stats().spool.ackedThrough === 10)
    const { refusedBatches, refusedEvents, ackedEvents } = sink.stats()
    assert.deepEqual([refusedBatches, refusedEvents, ackedEvents], [1, 10, 90])
    assert.equal(pulse.hellos.length, 1)
  })

  it('comes back after a drain', async () => {
    pulse.answer = ({ sequence }) => (sequence === 3n ? 'drain' : 'ack')
    const sink = openSink()
    write(sink, 100)
    await until(() => sink.stats().spool.ackedThrough === 10)
    assert.equal(pulse.hellos.length, 2)
    assert.deepEqual(pulse.eventIds(), ids)
  })

  it('delivers after a restart of both what was taken while Pulse was away', async () => {
    const { port } = pulse
    pulse.stop()
    const first = openSink()
    write(first, 55)
    await first.close(100)
    const second = openSink()
    write(second, 45)
    await until(() => second.stats().failedSessions > 0)
    pulse.port = port
    await pulse.start()
    await until(() => second.stats().spool.ackedThrough + 1 === second.stats().spool.nextSequence)
    assert.deepEqual(pulse.eventIds(), ids)
    assert.equal(pulse.hellos[0]?.key?.epoch, 2n)
    assert.deepEqual(pulse.hellos[0]?.holes, [])
  })

  it('drops and tells when events come faster than they can be spooled', async () => {
    const sink = openSink({ max_queue_events: 50 })
    write(sink, 120)
    await until(() => sink.stats().spool.ackedThrough === 5)
    assert.equal(sink.stats().droppedQueueFull, 70)
    assert.deepEqual(pulse.eventIds(), ids.slice(0, 50))
    const gaps = pulse.batches.flatMap((batch) => batch.gaps)
    assert.deepEqual(gaps, [{ reason: LossReason.LOSS_REASON_QUEUE_FULL, events: 70n }])
  })

  it('declares what the size limit of the spool has dropped', async () => {
    pulse.stop()
    const path = '/x'.repeat(4000)
    const sink = openSink({ max_batch_events: 1, spool: { max_bytes: 1 << 20, segment_bytes: 1 << 16 } })
    const random = () =>
      Array.from({ length: 4000 }, () => String.fromCharCode(33 + Math.random() * 90)).join('')
    for (let index = 0; index < 600; index++) sink.write(recordOf(path + random()))
    await until(() => sink.stats().batches === 600)
    const { droppedBatches, bytes } = sink.stats().spool
    assert.ok(droppedBatches > 0 && bytes <= 1 << 20)
    await pulse.start()
    await until(() => sink.stats().spool.ackedThrough === 600)
    assert.equal(pulse.sequences()[0], droppedBatches + 1)
    assert.deepEqual(pulse.hellos[0]?.holes, [
      { first: 1n, last: BigInt(droppedBatches), reason: LossReason.LOSS_REASON_SPOOL_FULL },
    ])
  })

  it('refuses a spool that another sink uses, and takes one whose owner is dead', async () => {
    const sink = openSink()
    assert.throws(() => openSink(), /is in use by process \d+/)
    await sink.close(0)
    for (const owner of ['4194305 1', `${process.pid} 1`, '']) {
      writeFileSync(join(directory, 'lock'), owner)
      await openSink().close(0)
    }
  })

  it('declares what both sides have no more when Pulse went back to an older state', async () => {
    const sink = openSink()
    write(sink, 100)
    await sink.close(5000)
    pulse.committedThrough = 4n
    const second = openSink()
    write(second, 10)
    await until(() => second.stats().spool.ackedThrough === 11)
    const [hole] = pulse.hellos.at(-1)?.holes ?? []
    assert.deepEqual([hole?.first, hole?.last], [5n, 10n])
    assert.deepEqual(pulse.eventIds(), ids)
  })
})
