import assert from 'node:assert/strict'
import { detectRequest } from './detect.js'

const detect = (text: string) => detectRequest(Buffer.from(text, 'latin1'))

describe('detectRequest', () => {
  it('takes any method before a path whose end is not in sight', () => {
    assert.equal(detect(`DROP-TABLE_X /${'x'.repeat(8000)}`), 'match')
    assert.equal(detect('GET example.org:4'), 'match')
  })

  it('refuses an uncommon method before anything else whose end is not in sight', () => {
    for (const text of ['HELLO world', 'RETR /a b', 'RETR /a\0', 'RETR /a\x7f'])
      assert.equal(detect(text), 'no')
  })
})
