import assert from 'node:assert/strict'
import { SseParser } from './sse-parser.js'

const STREAM = [
  ': welcome\n\n',
  'event: request\nid: t1\ndata: {"a":1}\n\n',
  'event:dropped\r\ndata:{"count":"3"}\r\n\r\n',
  'id: t2\rdata: one\rdata:  two\r\r',
  'event: heartbeat\n\n',
  'retry: 5\ndata\n\n',
].join('')

const EXPECTED = [
  { event: 'request', data: '{"a":1}', id: 't1' },
  { event: 'dropped', data: '{"count":"3"}', id: 't1' },
  { event: 'message', data: 'one\n two', id: 't2' },
  { event: 'message', data: '', id: 't2' },
]

describe('server-sent events', () => {
  it('reads fields, comments and all line ends', () => {
    assert.deepEqual(new SseParser(1000).push(STREAM), EXPECTED)
  })

  it('gives the same events wherever the stream is split', () => {
    for (let at = 0; at <= STREAM.length; at += 1) {
      const parser = new SseParser(1000)
      const messages = [...parser.push(STREAM.slice(0, at)), ...parser.push(STREAM.slice(at))]
      assert.deepEqual(messages, EXPECTED, `split at ${at}`)
    }
    const single = new SseParser(1000)
    assert.deepEqual(
      Array.from(STREAM).flatMap((char) => single.push(char)),
      EXPECTED,
    )
  })

  it('refuses an event that outgrows the limit, in one line or in many', () => {
    assert.throws(() => new SseParser(100).push(`data: ${'x'.repeat(200)}`), RangeError)
    assert.throws(() => new SseParser(100).push(`data: ${'x'.repeat(30)}\n`.repeat(5)), RangeError)
  })
})
