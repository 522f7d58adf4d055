import assert from 'node:assert/strict'
import { headerValue, parseHttpHeads } from './http-headers.js'

describe('header object', () => {
  const request = {
    line: 'GET / HTTP/1.1',
    headers: [
      ['Host', 'a'],
      ['X', ''],
    ],
  }

  it('reads both messages', () => {
    const response = { line: 'HTTP/1.1 200 OK', headers: [['Content-Encoding', 'gzip']] }
    const heads = parseHttpHeads(JSON.stringify({ request, response }))
    assert.deepEqual(heads, { request, response })
    assert.equal(headerValue(heads.response, 'content-encoding'), 'gzip')
    assert.equal(headerValue(heads.response, 'host'), undefined)
    assert.equal(headerValue(undefined, 'host'), undefined)
  })

  it('takes a missing response for one that was not seen', () => {
    assert.equal(parseHttpHeads(JSON.stringify({ request })).response, undefined)
    assert.equal(parseHttpHeads(JSON.stringify({ request, response: null })).response, undefined)
  })

  it('says what is wrong with another shape', () => {
    const wrong = [
      ['[]', /no "request"/],
      ['{"request":{"headers":[]}}', /"request.line"/],
      ['{"request":{"line":"x","headers":{}}}', /"request.headers".* not a list/],
      ['{"request":{"line":"x","headers":[["a"]]}}', /not \[name, value\]/],
      ['{"request":{"line":"x","headers":[["a",1]]}}', /not \[name, value\]/],
      ['{', /JSON/],
    ] as const
    for (const [text, error] of wrong) assert.throws(() => parseHttpHeads(text), error)
  })
})
