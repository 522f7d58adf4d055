import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { Event, HttpRequest, Process } from '../../../gen/cleartap/event/v1/event.js'
import type { EventRecord } from './sink.js'
import { StdoutSink } from './stdout.js'

const RECORD: EventRecord = {
  event: Event.fromPartial({
    eventId: Buffer.alloc(16, 1),
    timeUnixNano: 1_790_000_000_123_000_000n,
    kind: {
      $case: 'httpRequest',
      value: HttpRequest.fromPartial({
        method: 'GET',
        scheme: 'https',
        host: 'example.test',
        path: '/a\u001b]0;x\u0007\u202e',
        query: 'q=',
        status: 404,
        requestBytes: 100n,
        responseBytes: 2048n,
        durationNano: 1_500_000n,
        peer: { direction: 2, remoteAddress: Buffer.from([127, 0, 0, 1]), remotePort: 443 },
      }),
    },
  }),
  process: Process.fromPartial({ pid: 42, comm: 'curl' }),
}

async function lineOf(format: 'text' | 'json', colour: boolean): Promise<string> {
  const output = new PassThrough()
  const sink = new StdoutSink({ format, output, colour })
  sink.write(RECORD)
  await sink.close(1000)
  assert.deepEqual(sink.stats(), { written: 1, dropped: 0 })
  return String(output.read())
}

describe('StdoutSink', () => {
  it('writes a line of text without escapes of the captured text', async () => {
    assert.equal(
      await lineOf('text', false),
      '14:13:20.123 curl(42) -> 127.0.0.1:443 GET https://example.test/a\ufffd]0;x\ufffd\ufffd?q= 404 100B/2.0KiB 1.5ms\n',
    )
  })

  it('colours on request', async () => {
    assert.ok((await lineOf('text', true)).includes('\u001b[33m404\u001b[0m'))
  })

  it('writes proto JSON that reads back as the same messages', async () => {
    const line = await lineOf('json', false)
    assert.equal(line.indexOf('\n'), line.length - 1)
    const parsed = JSON.parse(line) as { event: unknown; process: unknown }
    assert.deepEqual(Event.fromJSON(parsed.event), RECORD.event)
    assert.deepEqual(Process.fromJSON(parsed.process), RECORD.process)
  })

  it('drops and counts when the reader does not read', () => {
    const output = new PassThrough({ highWaterMark: 1 })
    const sink = new StdoutSink({ format: 'json', output, colour: false })
    const lines = 80_000
    for (let line = 0; line < lines; line++) sink.write(RECORD)
    const { written, dropped } = sink.stats()
    assert.equal(written + dropped, lines)
    assert.ok(dropped > 0)
    assert.ok(output.writableLength < 17 * 1024 * 1024)
  })
})
