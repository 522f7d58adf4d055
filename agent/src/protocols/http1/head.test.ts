import assert from 'node:assert/strict'
import { parseRequestLine } from './head.js'

describe('parseRequestLine', () => {
  it('takes every byte above ASCII in a target, those that Unicode calls blanks too', () => {
    for (let byte = 0x80; byte <= 0xff; byte++) {
      const target = `/${String.fromCharCode(byte)}`
      assert.equal(parseRequestLine(`GET ${target} HTTP/1.1`)?.target, target)
    }
  })

  it('refuses blanks and control characters of ASCII in a target', () => {
    for (const byte of [...Array(0x21).keys(), 0x7f])
      assert.equal(parseRequestLine(`GET /${String.fromCharCode(byte)}x HTTP/1.1`), undefined)
  })
})
