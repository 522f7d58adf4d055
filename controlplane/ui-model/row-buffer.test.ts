import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Request } from '../../gen/cleartap/pulse/v1/query.js'
import { type Row, RowBuffer, toRow } from './row-buffer.js'

function row(time: number): Row {
  const id = Buffer.alloc(16)
  id.writeUInt32BE(time)
  const made = toRow(Request.create({ event: { eventId: id, timeUnixNano: BigInt(time) } }))
  assert.ok(made)
  return made
}

const rows = (...times: readonly number[]) => times.map(row)
const times = (buffer: RowBuffer) => buffer.shown.map(({ timeUnixNano }) => Number(timeUnixNano))

describe('row buffer', () => {
  it('has no row for a request without an event', () => {
    assert.equal(toRow(Request.create()), undefined)
  })

  it('keeps rows newest first, whatever order they come in', () => {
    const buffer = new RowBuffer(10)
    buffer.add(rows(3, 1))
    buffer.add(rows(2, 5))
    buffer.addPage(rows(0, 4))
    assert.deepEqual(times(buffer), [5, 4, 3, 2, 1, 0])
  })

  it('takes each request once', () => {
    const buffer = new RowBuffer(10)
    buffer.add(rows(1, 2))
    buffer.addPage(rows(2, 1))
    assert.deepEqual(times(buffer), [2, 1])
  })

  it('holds new rows back while frozen, but shows pages that were asked for', () => {
    const buffer = new RowBuffer(10)
    buffer.add(rows(5))
    buffer.setFrozen(true)
    buffer.add(rows(6, 7))
    buffer.addPage(rows(4))
    assert.deepEqual(times(buffer), [5, 4])
    assert.equal(buffer.waitingCount, 2)
    buffer.release()
    assert.deepEqual(times(buffer), [7, 6, 5, 4])
    buffer.add(rows(8))
    assert.equal(buffer.waitingCount, 1)
    buffer.setFrozen(false)
    assert.deepEqual(times(buffer), [8, 7, 6, 5, 4])
  })

  it('lets the oldest go at its bound, and counts them', () => {
    const buffer = new RowBuffer(3)
    buffer.add(rows(1, 2))
    buffer.setFrozen(true)
    buffer.add(rows(3, 4))
    assert.deepEqual(times(buffer), [2])
    assert.equal(buffer.waitingCount, 2)
    assert.equal(buffer.droppedRows, 1)
    buffer.add(rows(5, 6))
    assert.deepEqual(times(buffer), [])
    assert.equal(buffer.waitingCount, 3)
    assert.equal(buffer.droppedRows, 3)
    assert.equal(buffer.isFull, true)
    buffer.release()
    assert.deepEqual(times(buffer), [6, 5, 4])
  })

  it('takes a row again that it had let go', () => {
    const buffer = new RowBuffer(1)
    buffer.add(rows(1))
    buffer.add(rows(2))
    buffer.clear()
    buffer.add(rows(1))
    assert.deepEqual(times(buffer), [1])
    assert.equal(buffer.droppedRows, 0)
  })

  it('never holds more than its bound, and loses none uncounted', () => {
    const step = fc.record({
      batch: fc.array(fc.nat(200), { maxLength: 30 }),
      frozen: fc.boolean(),
      page: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const buffer = new RowBuffer(25)
        let taken = 0
        for (const { batch, frozen, page } of steps) {
          const held = new Set(heldIds(buffer))
          taken += new Set(batch.filter((time) => !held.has(time))).size
          buffer.setFrozen(frozen)
          if (page) buffer.addPage(rows(...batch))
          else buffer.add(rows(...batch))
          const count = buffer.shown.length + buffer.waitingCount
          assert.ok(count <= 25)
          assert.deepEqual(
            times(buffer),
            times(buffer).toSorted((a, b) => b - a),
          )
          buffer.release()
          assert.equal(buffer.shown.length, count)
          assert.equal(count + buffer.droppedRows, taken)
        }
      }),
    )
  })
})

/** After a release nothing waits, so that what is shown is all that is held. */
function heldIds(buffer: RowBuffer): readonly number[] {
  return times(buffer)
}
