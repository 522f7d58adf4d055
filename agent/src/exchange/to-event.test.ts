import assert from 'node:assert/strict'
import { Events, type HttpRequest } from '../../../gen/cleartap/event/v1/event.js'
import type { HttpExchange, ProcessInfo } from './exchange.js'
import { EventMaker } from './to-event.js'

const PROCESS: ProcessInfo = {
  pid: 42,
  startNs: 7n,
  parentPid: 1,
  uid: 1000,
  comm: 'curl',
  exe: '/usr/bin/curl',
  argv: ['curl', '-u', 'name:hunter2'],
  user: 'jo',
  containerId: '',
  cgroup: '/',
}

function exchangeOf(change: Partial<HttpExchange>): HttpExchange {
  return {
    kind: 'http',
    id: new Uint8Array(16).fill(1),
    connectionId: new Uint8Array(16).fill(2),
    index: 3,
    process: PROCESS,
    peer: {
      confidence: 'exact',
      role: 'client',
      localAddress: Uint8Array.of(127, 0, 0, 1),
      localPort: 5000,
      remoteAddress: Uint8Array.of(127, 0, 0, 2),
      remotePort: 443,
    },
    tlsLibrary: 'openssl',
    protocol: 'http/1.1',
    method: 'POST',
    target: '/',
    status: 200,
    request: { startLine: '', headers: [], wireBytes: 100, startNs: 1000n, endNs: 1500n },
    response: { startLine: '', headers: [], wireBytes: 200, startNs: 3000n, endNs: 9000n },
    completeness: 'complete',
    bytesLost: 0,
    ...change,
  }
}

function httpOf(change: Partial<HttpExchange>): HttpRequest {
  const { event } = new EventMaker().fromHttp(exchangeOf(change), [])
  assert.ok(event.kind?.$case === 'httpRequest')
  return event.kind.value
}

function withHeaders(...headers: [string, string][]): HttpExchange['request'] {
  return { startLine: '', headers, wireBytes: 0, startNs: 0n, endNs: 0n }
}

describe('EventMaker', () => {
  it('measures from the first byte of the request', () => {
    const http = httpOf({})
    assert.equal(http.firstByteNano, 2000n)
    assert.equal(http.durationNano, 8000n)
    assert.equal(http.requestBytes, 100n)
    assert.equal(http.responseBytes, 200n)
    assert.equal(http.indexInConnection, 3)
  })

  for (const [target, host, wanted] of [
    ['/p?a=1&b=%20x&c', 'Example.Test:8443', ['example.test:8443', '/p', 'a=&b=&c']],
    ['/p', 'user:pw@Example.test', ['example.test', '/p', '']],
    ['http://user:pw@Example.test/x?k=v#frag', 'other', ['example.test', '/x', 'k=']],
    ['http://h', 'other', ['h', '/', '']],
    ['/p?token=a=b=c&=x&&', 'h', ['h', '/p', 'token=&=&&']],
    [`/p?${'k'.repeat(65)}&q=1`, 'h', ['h', '/p', '&q=']],
    ['/p?a=1?b=2', 'h', ['h', '/p', 'a=']],
    ['*', 'h', ['h', '*', '']],
    ['/p', 'a b', ['', '/p', '']],
    ['/p#s=1', '[::1]:80', ['[::1]:80', '/p', '']],
  ] as const) {
    it(`shows ${target.slice(0, 40)} at ${host} without values`, () => {
      const http = httpOf({ target, request: withHeaders(['hOST', host]) })
      assert.deepEqual([http.host, http.path, http.query], wanted)
    })
  }

  it('takes the authority of CONNECT for the host', () => {
    const http = httpOf({ method: 'CONNECT', target: 'Db.test:5432' })
    assert.deepEqual([http.host, http.path], ['db.test:5432', ''])
  })

  for (const [value, traceId] of [
    ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '0af7651916cd43dd8448eb211c80319c'],
    ['cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more', '0af7651916cd43dd8448eb211c80319c'],
    ['ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', ''],
    ['00-00000000000000000000000000000000-b7ad6b7169203331-01', ''],
    ['00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01', ''],
    ['00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01', ''],
    ['junk', ''],
  ] as const) {
    it(`reads traceparent ${value}`, () => {
      const http = httpOf({ request: withHeaders(['Traceparent', value]) })
      assert.equal(http.traceId.toString('hex'), traceId)
      assert.equal(http.spanId.length, traceId === '' ? 0 : 8)
    })
  }

  it('carries no other header, no parameter, no body, no argument, no query value', () => {
    const secret = 'hunter2'
    const body = { chunks: [Buffer.from(secret)], size: 7, truncated: false }
    const headers: [string, string][] = [
      ['Authorization', secret],
      ['Cookie', secret],
      ['X-Any', secret],
      ['Content-Type', `Text/HTML; boundary=${secret}`],
      ['User-Agent', 'agent/1'],
      ['Host', `${secret}:${secret}@h`],
    ]
    const message = { ...withHeaders(...headers), body }
    const { event, process } = new EventMaker().fromHttp(
      exchangeOf({ target: `/p?k=${secret}`, request: message, response: message }),
      [],
    )
    const wire = Events.encode({ processes: [process], events: [event] }).finish()
    assert.ok(!Buffer.from(wire).includes(secret))
    assert.ok(event.kind?.$case === 'httpRequest')
    assert.equal(event.kind.value.requestContentType, 'text/html')
    assert.equal(event.kind.value.userAgent, 'agent/1')
    assert.equal(event.kind.value.requestBodyBytes, 7n)
  })

  it('gives one message for one process', () => {
    const maker = new EventMaker()
    const first = maker.fromHttp(exchangeOf({}), [])
    const second = maker.fromHttp(exchangeOf({}), [])
    assert.equal(first.process, second.process)
  })
})
