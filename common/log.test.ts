import assert from 'node:assert/strict'
import { createLogger } from './log.js'

function capture(format: 'json' | 'text') {
  const lines: string[] = []
  const logger = createLogger('agent', {
    level: 'info',
    format,
    destination: { write: (line) => lines.push(line) },
  })
  return { lines, logger }
}

describe('createLogger', () => {
  it('writes one JSON object a line, with level by name, ts, component, fields and msg', () => {
    const { lines, logger } = capture('json')
    logger.debug('not written')
    logger.info({ pid: 7, bytes: 5n }, 'attached')
    assert.equal(lines.length, 1)
    const { ts, ...rest } = JSON.parse(lines[0] ?? '')
    assert.ok(Math.abs(Date.parse(ts) - Date.now()) < 10_000)
    assert.deepEqual(rest, { level: 'info', component: 'agent', pid: 7, bytes: '5', msg: 'attached' })
  })

  it('never writes values under secret names, nor bytes', () => {
    const { lines, logger } = capture('json')
    const fields = {
      request: { headers: { Authorization: 'hunter2', accept: 'x' }, body: Buffer.from('hunter2') },
    }
    logger.warn({ ...fields, secret_access_key: 'hunter2' }, 'seen')
    logger.child({ token: 'hunter2' }).info('child')
    assert.doesNotMatch(lines.join(''), /hunter2|104,117/)
    assert.match(lines[0] ?? '', /"body":"\[7 bytes\]"/)
  })

  it('keeps errors with their cause', () => {
    const { lines, logger } = capture('json')
    logger.error({ error: new Error('outer', { cause: new Error('inner') }) }, 'failed')
    const { error } = JSON.parse(lines[0] ?? '')
    assert.match(error.message, /outer/)
    assert.match(error.stack, /inner/)
  })

  it('writes text for people', () => {
    const { lines, logger } = capture('text')
    logger.warn({ file: '/tmp/a', why: 'no space' }, 'cannot write')
    assert.match(lines[0] ?? '', /^[\d:.]{12} WARN {2}agent: cannot write file=\/tmp\/a why="no space"\n$/)
  })
})
