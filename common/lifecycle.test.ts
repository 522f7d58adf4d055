import assert from 'node:assert/strict'
import { Lifecycle, untilSignal } from './lifecycle.js'
import { createLogger } from './log.js'

function fixture(stepTimeoutMs: number) {
  const lines: string[] = []
  const logger = createLogger('test', {
    level: 'info',
    format: 'json',
    destination: { write: (line) => lines.push(line) },
  })
  return { lines, lifecycle: new Lifecycle(logger, stepTimeoutMs) }
}

describe('Lifecycle', () => {
  it('stops in reverse order, once', async () => {
    const { lifecycle } = fixture(1000)
    const order: string[] = []
    for (const name of ['store', 'sink', 'probes']) lifecycle.add(name, () => void order.push(name))
    await Promise.all([lifecycle.stop(), lifecycle.stop()])
    assert.deepEqual(order, ['probes', 'sink', 'store'])
    assert.throws(() => lifecycle.add('late', () => {}), /already stopping/)
  })

  it('goes on after a step that fails and one that hangs, and logs both', async () => {
    const { lifecycle, lines } = fixture(30)
    let reached = false
    lifecycle.add('last', () => {
      reached = true
    })
    lifecycle.add('failing', () => Promise.reject(new Error('no')))
    lifecycle.add('hanging', () => new Promise(() => {}))
    await lifecycle.stop()
    assert.ok(reached)
    assert.match(lines[0] ?? '', /"step":"hanging".*did not stop in time/)
    assert.match(lines[1] ?? '', /"step":"failing".*failed to stop/)
  })
})

describe('untilSignal', () => {
  it('resolves with the signal and leaves no handler behind', async () => {
    const before = process.listenerCount('SIGTERM')
    const waiting = untilSignal()
    process.kill(process.pid, 'SIGTERM')
    assert.equal(await waiting, 'SIGTERM')
    assert.equal(process.listenerCount('SIGTERM'), before)
  })

  it('rejects when aborted', async () => {
    await assert.rejects(untilSignal(AbortSignal.timeout(5)), /timeout/i)
  })
})
