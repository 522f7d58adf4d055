import assert from 'node:assert/strict'
import { context, trace } from '@opentelemetry/api'
import { contextOf, fromTraceparent, isTraced, spanned, startSpan, traceparentOf } from './tracing.js'

const header = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

describe('tracing', () => {
  it('makes nothing while there is no SDK', () => {
    const span = startSpan('test')
    assert.equal(isTraced(span), false)
    assert.equal(span.isRecording(), false)
    assert.equal(traceparentOf(span), '')
  })

  it('reads a traceparent and writes the same', () => {
    const span = trace.getSpan(fromTraceparent(header))
    assert.equal(traceparentOf(span), header)
    assert.equal(span?.spanContext().isRemote, true)
  })

  it('takes anything else for a root', () => {
    const wrong = [
      undefined,
      '',
      'secret',
      header.toUpperCase(),
      `${header}-extra`,
      header.replace('00-', '01-'),
      `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
      `00-0af7651916cd43dd8448eb211c80319c-${'0'.repeat(16)}-01`,
    ]
    for (const text of wrong) assert.equal(trace.getSpan(fromTraceparent(text)), undefined, String(text))
  })

  it('hands on results and errors', async () => {
    assert.equal(
      spanned('test', {}, () => 1),
      1,
    )
    assert.equal(await spanned('test', {}, async () => 2), 2)
    const fails = () => {
      throw new Error('no')
    }
    assert.throws(() => spanned('test', {}, fails), /no/)
    await assert.rejects(
      spanned('test', {}, async () => fails()),
      /no/,
    )
    assert.ok(contextOf(startSpan('test'), context.active()))
  })
})
