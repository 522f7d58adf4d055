import assert from 'node:assert/strict'
import { RowBuffer } from './row-buffer.js'

/** Each writes its bytes; the same values at every place, so that each is written across a growth once. */
const WRITES: [name: string, write: (rows: RowBuffer) => void, bytes: string][] = [
  ['u8', (rows) => rows.u8(0xab), 'ab'],
  ['u16', (rows) => rows.u16(0xabcd), 'cdab'],
  ['u32', (rows) => rows.u32(0x89abcdef), 'efcdab89'],
  ['u64', (rows) => rows.u64(0x89abcdef, 0x01234567), 'efcdab8967452301'],
  ['bigint', (rows) => rows.bigint(-2n), 'feffffffffffffff'],
  ['zeros', (rows) => rows.zeros(3), '000000'],
  ['length32', (rows) => rows.length32(300), 'ac02'],
  ['short text', (rows) => rows.text(Buffer.from('xyz'), 1, 3), '02797a'],
  ['long text', (rows) => rows.text(Buffer.alloc(130, 'a'), 0, 130), `8201${'61'.repeat(130)}`],
]

describe('row buffer', () => {
  for (const [name, write, bytes] of WRITES) {
    it(`writes ${name} at every distance from its end`, () => {
      for (let filled = 0; filled <= 16; filled += 1) {
        const rows = new RowBuffer(16)
        for (let i = 0; i < filled; i += 1) rows.u8(i)
        write(rows)
        const expected = Buffer.from([...Array(filled).keys()]).toString('hex') + bytes
        assert.equal(Buffer.from(rows.written()).toString('hex'), expected)
      }
    })
  }

  it('writes zeros over what was cut off', () => {
    const rows = new RowBuffer(16)
    rows.u32(0xffff_ffff)
    rows.truncate(0)
    rows.zeros(4)
    assert.deepEqual([...rows.written()], [0, 0, 0, 0])
  })
})
