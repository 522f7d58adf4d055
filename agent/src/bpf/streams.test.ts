import assert from 'node:assert/strict'
import { StreamTable } from './streams.js'

const first = { pid: 1, startNs: 10n }
const second = { pid: 1, startNs: 20n }

function opened(table: StreamTable, id: number, process = first, timeNs = BigInt(id)) {
  return table.open({
    kind: 'open',
    process,
    timeNs,
    streamId: BigInt(id),
    object: BigInt(id * 8),
    image: 1,
    libraryId: 0,
  })
}

describe('StreamTable', () => {
  it('knows the streams of a process, not of another with the same pid', () => {
    const table = new StreamTable(100)
    opened(table, 1)
    opened(table, 2)
    opened(table, 3, second)
    assert.deepEqual(
      table.ofProcess(first).map((stream) => stream.id),
      [1n, 2n],
    )
    assert.equal(table.close(1n), true)
    assert.equal(table.close(1n), false)
    assert.deepEqual(
      table.ofProcess(first).map((stream) => stream.id),
      [2n],
    )
    assert.deepEqual(table.ofProcess({ pid: 2, startNs: 10n }), [])
  })

  it('lets the idlest go when it is full', () => {
    const table = new StreamTable(32)
    for (let id = 1; id <= 32; id++) assert.deepEqual(opened(table, id), [])
    const busy = table.find(1n)
    assert.ok(busy)
    busy.lastNs = 1000n
    const evicted = opened(table, 33)
    assert.deepEqual(
      evicted.map((stream) => stream.id),
      [2n, 3n],
    )
    assert.equal(table.size, 31)
    assert.ok(table.find(1n))
    assert.equal(table.find(2n), undefined)
  })
})
