import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { EventBatch } from '../../../../gen/cleartap/pulse/v1/ingest.js'
import { Spool } from './spool.js'

const WRITER = join(import.meta.dirname, 'spool-writer.js')
const LIMITS = { maxBytes: 1 << 30, segmentBytes: 4096 }

function batchOf(sequence: number, bytes = 100): EventBatch {
  const payload = Buffer.alloc(bytes, sequence % 251)
  return EventBatch.fromPartial({ sequence: BigInt(sequence), eventCount: 3, payload })
}

function sequencesFrom(spool: Spool, from = 1): number[] {
  const cursor = spool.read(from)
  const sequences: number[] = []
  for (let batch = cursor.next(); batch !== undefined; batch = cursor.next()) {
    const sequence = Number(batch.sequence)
    assert.deepEqual(batch, batchOf(sequence, batch.payload.length))
    sequences.push(sequence)
  }
  cursor.close()
  return sequences
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

describe('Spool', () => {
  let directory: string
  const open = (limits: Partial<typeof LIMITS> = {}) => new Spool({ directory, ...LIMITS, ...limits })
  const segments = () =>
    readdirSync(directory)
      .filter((name) => name.endsWith('.seg'))
      .sort()

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cleartap-spool-'))
  })
  afterEach(() => {
    rmSync(directory, { recursive: true })
  })

  it('keeps batches over an orderly restart, with the same stream, a new epoch and no hole', () => {
    const first = open()
    for (let count = 0; count < 100; count++) first.append(batchOf)
    const { streamId, epoch } = first
    first.close()
    const second = open()
    assert.deepEqual(second.streamId, streamId)
    assert.equal(second.epoch, epoch + 1)
    assert.deepEqual(second.holes, [])
    assert.deepEqual(sequencesFrom(second), range(1, 100))
    assert.equal(second.append(batchOf), 101)
    second.close()
  })

  it('deletes segments that are acknowledged, the last one at the end', () => {
    const spool = open()
    for (let count = 0; count < 100; count++) spool.append(batchOf)
    const before = segments().length
    assert.ok(before > 2)
    spool.ack(99)
    assert.equal(segments().length, 1)
    assert.equal(spool.firstAvailable, 100)
    assert.deepEqual(sequencesFrom(spool, 100), [100])
    spool.ack(100)
    spool.close()
    assert.deepEqual(segments(), [])
    const again = open()
    assert.equal(again.append(batchOf), 101)
    assert.equal(again.ackedThrough, 100)
    again.close()
  })

  it('declares what a crash left unused, and never uses a number twice', () => {
    const first = open()
    for (let count = 0; count < 5; count++) first.append(batchOf)
    const second = open()
    assert.deepEqual(second.holes, [{ first: 6, last: 1000, reason: 'unused_numbers' }])
    assert.equal(second.append(batchOf), 1001)
    const third = open()
    assert.deepEqual(third.holes, [
      { first: 6, last: 1000, reason: 'unused_numbers' },
      { first: 1002, last: 2000, reason: 'unused_numbers' },
    ])
    assert.deepEqual(sequencesFrom(third), [...range(1, 5), 1001])
    assert.equal(third.stats().damagedSegments, 0)
    third.ack(1001)
    assert.deepEqual(third.holes, [{ first: 1002, last: 2000, reason: 'unused_numbers' }])
    third.close()
  })

  it('opens with a last record cut off at any byte, and loses that record only', () => {
    const spool = open({ segmentBytes: 1 << 20 })
    for (let count = 0; count < 3; count++) spool.append(batchOf)
    const [name = ''] = segments()
    const path = join(directory, name)
    const whole = readFileSync(path)
    const state = readFileSync(join(directory, 'stream.json'))
    const recordBytes = (whole.length - 32) / 3
    for (let length = 32 + 2 * recordBytes; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length))
      writeFileSync(join(directory, 'stream.json'), state)
      const reopened = open()
      assert.deepEqual(sequencesFrom(reopened), [1, 2], `cut at ${length}`)
      const reason = length === 32 + 2 * recordBytes ? 'unused_numbers' : 'spool_corrupt'
      assert.deepEqual(reopened.holes, [{ first: 3, last: 1000, reason }])
      reopened.close()
    }
  })

  it('opens with any one byte of the last segment changed, and never delivers changed bytes', () => {
    const spool = open({ segmentBytes: 1 << 20 })
    for (let count = 0; count < 3; count++) spool.append((sequence) => batchOf(sequence, 20))
    const [name = ''] = segments()
    const path = join(directory, name)
    const whole = readFileSync(path)
    const state = readFileSync(join(directory, 'stream.json'))
    for (let at = 0; at < whole.length; at++) {
      const changed = Buffer.from(whole)
      changed[at] = (changed[at] ?? 0) ^ 0x10
      writeFileSync(path, changed)
      writeFileSync(join(directory, 'stream.json'), state)
      const reopened = open()
      const sequences = sequencesFrom(reopened)
      assert.deepEqual(sequences, range(1, sequences.length), `byte ${at}`)
      // Bytes 24 to 31 say what the file's name says too.
      assert.equal(sequences.length === 3, at >= 24 && at < 32, `byte ${at}`)
      reopened.close()
    }
  })

  it('declares a damaged record in the middle and goes on with the next segment', () => {
    const spool = open()
    for (let count = 0; count < 100; count++) spool.append(batchOf)
    spool.close()
    const [, second = '', third = ''] = segments()
    const path = join(directory, second)
    const bytes = readFileSync(path)
    bytes[40] = (bytes[40] ?? 0) ^ 1
    writeFileSync(path, bytes)
    const reopened = open()
    const [lost, after] = [Number.parseInt(second, 10), Number.parseInt(third, 10)]
    assert.deepEqual(sequencesFrom(reopened), [...range(1, lost - 1), ...range(after, 100)])
    assert.deepEqual(reopened.holes, [{ first: lost, last: after - 1, reason: 'spool_corrupt' }])
    assert.equal(reopened.holesVersion, 1)
    reopened.close()
  })

  it('drops the oldest segments at the size limit, counts and declares them', () => {
    const spool = open({ maxBytes: 20_000 })
    for (let count = 0; count < 500; count++) spool.append(batchOf)
    const { droppedBatches, droppedEvents, bytes } = spool.stats()
    assert.ok(bytes <= 20_000)
    const onDisk = segments().reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
    assert.equal(bytes, onDisk)
    assert.ok(droppedBatches > 100)
    assert.equal(droppedEvents, droppedBatches * 3)
    assert.deepEqual(spool.holes, [{ first: 1, last: droppedBatches, reason: 'spool_full' }])
    assert.equal(spool.firstAvailable, droppedBatches + 1)
    assert.deepEqual(sequencesFrom(spool), range(droppedBatches + 1, 500))
    spool.close()
  })

  it('hands later batches to a cursor that has reached the end', () => {
    const spool = open()
    const cursor = spool.read(1)
    for (let sequence = 1; sequence <= 200; sequence++) {
      assert.equal(cursor.next(), undefined)
      spool.append(batchOf)
      assert.equal(Number(cursor.next()?.sequence), sequence)
    }
    cursor.close()
    spool.close()
  })

  it('never reuses numbers that Pulse knows and the spool does not', () => {
    const spool = open()
    spool.append(batchOf)
    spool.skipPast(5000)
    assert.equal(spool.append(batchOf), 5001)
    assert.equal(spool.ackedThrough, 5000)
    assert.deepEqual(sequencesFrom(spool, 5001), [5001])
    spool.close()
  })

  it('begins a new stream when its state is gone, and refuses a damaged one by name', () => {
    const spool = open()
    spool.append(batchOf)
    const { streamId } = spool
    rmSync(join(directory, 'stream.json'))
    const renewed = open()
    assert.notDeepEqual(renewed.streamId, streamId)
    assert.deepEqual(sequencesFrom(renewed), [])
    assert.equal(renewed.append(batchOf), 1)
    appendFileSync(join(directory, 'stream.json'), 'x')
    assert.throws(() => open(), /stream\.json is damaged/)
  })

  it('keeps everything that was appended when the writer is killed with SIGKILL', async () => {
    let told = 0
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, [WRITER, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
      told = await killWhileWriting(child)
    }
    const spool = open()
    const sequences = sequencesFrom(spool)
    const unused = spool.holes.reduce((sum, { first, last }) => sum + last - first + 1, 0)
    assert.ok(sequences.includes(told))
    assert.equal(new Set(sequences).size, sequences.length)
    // Every number below the next is either here or declared: nothing is lost silently.
    assert.equal(sequences.length + unused, spool.nextSequence - 1)
    assert.ok(spool.holes.every(({ reason }) => reason === 'unused_numbers'))
    assert.equal(spool.holes.length, 3)
    spool.close()
  })
})

/** Kills the child in the midst of its writing; returns the last number that it said it had written. */
async function killWhileWriting(child: ChildProcess): Promise<number> {
  let last = 0
  try {
    assert.ok(child.stdout)
    for await (const line of createInterface({ input: child.stdout })) {
      last = Number(line)
      if (last % 1000 > 300) child.kill('SIGKILL')
    }
  } finally {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
  return last
}
