import assert from 'node:assert/strict'
import { hexLines } from './hex-view.js'

describe('hex view', () => {
  it('lays out sixteen bytes a line and pads the last', () => {
    const bytes = Uint8Array.from({ length: 18 }, (_, i) => i + 0x3b)
    assert.deepEqual(hexLines(bytes, 100), [
      {
        offset: '00000000',
        hex: '3b 3c 3d 3e 3f 40 41 42  43 44 45 46 47 48 49 4a',
        text: ';<=>?@ABCDEFGHIJ',
      },
      { offset: '00000010', hex: `4b 4c${' '.repeat(43)}`, text: 'KL' },
    ])
  })

  it('shows a dot for every byte that does not print', () => {
    const [line] = hexLines(Uint8Array.of(0, 9, 10, 0x1f, 0x20, 0x7e, 0x7f, 0x80, 0xff), 100)
    assert.equal(line?.text, '.... ~...')
  })

  it('stops at the limit', () => {
    assert.equal(hexLines(new Uint8Array(100), 20).length, 2)
    assert.equal(hexLines(new Uint8Array(100), 20)[1]?.text.length, 4)
    assert.deepEqual(hexLines(new Uint8Array(), 20), [])
  })
})
