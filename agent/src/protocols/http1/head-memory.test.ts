import assert from 'node:assert/strict'
import { parseHead } from './head.js'
import { HeadMemory } from './head-memory.js'

const HEAD = Buffer.from('GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n')

function remembered(slot: number, memory: HeadMemory, bytes: Buffer): void {
  const head = parseHead(bytes.toString('latin1'))
  assert.ok(typeof head === 'object')
  memory.remember(slot, head, bytes, 0, bytes.length)
}

describe('HeadMemory', () => {
  it('finds the same bytes wherever they stand, and nothing else', () => {
    const memory = new HeadMemory()
    const slot = memory.takeSlot()
    assert.equal(memory.find(slot, HEAD, 0), undefined)
    remembered(slot, memory, Buffer.from(HEAD))
    assert.equal(memory.find(slot, HEAD, 0)?.bytes, HEAD.length)
    const inside = Buffer.concat([Buffer.from('xyz'), HEAD, Buffer.from('body')])
    assert.equal(memory.find(slot, inside, 3)?.head.startLine, 'GET /a HTTP/1.1')
    assert.equal(memory.find(slot, inside, 2), undefined)
    assert.equal(memory.find(slot, HEAD.subarray(0, -1), 0), undefined)
    for (let place = 0; place < HEAD.length; place++) {
      const other = Buffer.from(HEAD)
      other[place] = (other[place] ?? 0) ^ 1
      assert.equal(memory.find(slot, other, 0), undefined, `byte ${place}`)
    }
    assert.equal(memory.find(memory.takeSlot(), HEAD, 0), undefined)
  })

  it('does not take long heads, and keeps the one before', () => {
    const memory = new HeadMemory(1)
    remembered(0, memory, HEAD)
    const long = Buffer.from(`GET / HTTP/1.1\r\nCookie: ${'a'.repeat(1024)}\r\n\r\n`)
    remembered(0, memory, long)
    assert.equal(memory.find(0, long, 0), undefined)
    assert.notEqual(memory.find(0, HEAD, 0), undefined)
  })
})
