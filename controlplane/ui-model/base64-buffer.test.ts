import assert from 'node:assert/strict'
import fc from 'fast-check'
import { base64Buffer } from './base64-buffer.js'

describe('Buffer of the page', () => {
  it('reads base64 as Node does', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const text = Buffer.from(bytes).toString('base64')
        assert.deepEqual(base64Buffer.from(text), bytes)
      }),
    )
  })

  it('copies bytes and makes zeros', () => {
    const source = Uint8Array.of(1, 2, 3)
    const copy = base64Buffer.from(source)
    source[0] = 9
    assert.deepEqual(copy, Uint8Array.of(1, 2, 3))
    assert.deepEqual(base64Buffer.alloc(2), Uint8Array.of(0, 0))
  })

  it('refuses text that is not base64', () => {
    assert.throws(() => base64Buffer.from('%%%'))
  })
})
