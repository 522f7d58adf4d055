import assert from 'node:assert/strict'
import type { HttpExchange, HttpMessage } from '../exchange/exchange.js'
import { formatEnd, urlOf } from './exchange-facts.js'
import { exchangeJson } from './exchange-json.js'
import { bodyLines, columnTitles, exchangeLine, printable } from './exchange-line.js'

const startNs = 1_795_000_000_123_000_000n

function message(startLine: string, body?: Uint8Array): HttpMessage {
  return {
    startLine,
    headers: [['Host', 'api.example:8443']],
    wireBytes: 120,
    startNs,
    endNs: startNs + 18_000_000n,
    ...(body && {
      body: { chunks: [body.subarray(0, 3), body.subarray(3)], size: body.length, truncated: false },
    }),
  }
}

const exchange: HttpExchange = {
  kind: 'http',
  id: Uint8Array.from({ length: 16 }, (_, index) => index),
  connectionId: new Uint8Array(16),
  index: 2,
  process: {
    pid: 4711,
    startNs: 1n,
    parentPid: 1,
    uid: 0,
    comm: 'curl',
    exe: '/usr/bin/curl',
    argv: ['curl'],
    user: 'root',
    containerId: '',
    cgroup: '',
  },
  peer: {
    confidence: 'exact',
    role: 'client',
    localAddress: Uint8Array.of(127, 0, 0, 1),
    localPort: 40_000,
    remoteAddress: Uint8Array.of(127, 0, 0, 1),
    remotePort: 8443,
  },
  tlsLibrary: 'openssl',
  protocol: 'http/1.1',
  method: 'POST',
  target: '/orders?id=1',
  status: 201,
  request: message('POST /orders?id=1 HTTP/1.1', Buffer.from('{"a":"é"}\n')),
  response: message('HTTP/1.1 201 Created', Uint8Array.of(0xff, 0x1b, 0x5b, 0x32, 0x4a)),
  completeness: 'complete',
  bytesLost: 0,
}

describe('exchange output', () => {
  it('writes JSON that parses, with stable names', () => {
    const parsed = JSON.parse(exchangeJson(exchange, 1024))
    assert.equal(parsed.id, '00010203-0405-0607-0809-0a0b0c0d0e0f')
    assert.equal(parsed.url, 'https://api.example:8443/orders?id=1')
    assert.equal(parsed.durationMs, 18)
    assert.deepEqual(parsed.peer, {
      direction: 'egress',
      confidence: 'exact',
      local: '127.0.0.1:40000',
      remote: '127.0.0.1:8443',
    })
    assert.deepEqual(parsed.request.body, { size: 11, text: '{"a":"é"}\n' })
    assert.deepEqual(parsed.response.body, { size: 5, base64: '/xtbMko=' })
  })

  it('leaves bodies out, or cuts them, as asked', () => {
    assert.deepEqual(JSON.parse(exchangeJson(exchange, 0)).request.body, { size: 11 })
    assert.deepEqual(JSON.parse(exchangeJson(exchange, 4)).request.body, {
      size: 11,
      truncated: true,
      text: '{"a"',
    })
  })

  it('writes a line under its titles', () => {
    const line = exchangeLine(exchange, false)
    assert.match(line, /^\d\d:\d\d:\d\d {4}4711 curl {12}POST {4}201 {7}18ms {4}120B {4}120B https:\/\/api/)
    assert.equal(line.indexOf('https://'), columnTitles.indexOf('URL'))
    assert.match(exchangeLine({ ...exchange, completeness: 'gap', bytesLost: 5 }, false), / \[5B lost\]$/)
    assert.ok(exchangeLine(exchange, true).includes('\u001b[32m201'))
  })

  it('never lets captured bytes steer the terminal', () => {
    const hostile = { ...exchange, target: '/\u001b]0;title\u0007\u001b[2J\r\n\u009b31m\u202e' }
    const lines = [exchangeLine(hostile, false), ...bodyLines(hostile, 1024)]
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must be absent
    for (const line of lines) assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u202e]/)
    assert.equal(printable('a\tb'), 'a\\x09b')
  })

  it('says how much of a body is missing', () => {
    assert.deepEqual(bodyLines({ ...exchange, response: undefined }, 4), ['  > {"a"', '  > … 7B more'])
  })

  it('names the server by what is known', () => {
    const { request } = exchange
    const nameless = { ...exchange, request: { ...request, headers: [] } }
    assert.equal(urlOf(nameless), 'https://127.0.0.1:8443/orders?id=1')
    const unknown = { ...nameless.peer, remoteAddress: new Uint8Array(0) }
    assert.equal(urlOf({ ...nameless, peer: unknown }), 'https://?/orders?id=1')
    assert.equal(urlOf({ ...exchange, target: 'https://b/x' }), 'https://b/x')
  })

  it('writes IPv6 as RFC 5952 says', () => {
    const address = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'))
    assert.equal(formatEnd(address('00000000000000000000000000000001'), 443), '[::1]:443')
    assert.equal(formatEnd(address('20010db8000000000000000000000000'), 1), '[2001:db8::]:1')
    assert.equal(formatEnd(address('20010db8000000010000000000000001'), 1), '[2001:db8:0:1::1]:1')
    assert.equal(formatEnd(new Uint8Array(0), 1), undefined)
  })
})
