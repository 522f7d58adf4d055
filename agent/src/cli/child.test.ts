import assert from 'node:assert/strict'
import { startChild } from './child.js'

async function exitCodeOf(command: string, ...args: string[]): Promise<number> {
  const child = await startChild(command, args, process.env)
  return 'exited' in child ? child.exited : child.exitCode
}

describe('startChild', () => {
  it('passes exit codes on, and signals as 128 and their number', async () => {
    assert.equal(await exitCodeOf('sh', '-c', 'exit 42'), 42)
    assert.equal(await exitCodeOf('sh', '-c', 'kill -TERM $$'), 143)
    assert.equal(await exitCodeOf('true'), 0)
  })

  it('tells commands that are absent from those that may not run', async () => {
    assert.equal(await exitCodeOf('cleartap-no-such-command'), 127)
    assert.equal(await exitCodeOf('/etc/passwd'), 126)
  })

  it('forwards signals', async () => {
    const child = await startChild('sleep', ['60'], process.env)
    assert.ok('exited' in child)
    child.signal('SIGINT')
    assert.equal(await child.exited, 130)
  })
})
