import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Program } from './process.js'
import { startProgram, stopAll } from './process.js'

const forever = 'setInterval(() => undefined, 1000)'
const ready = `console.log('{"service":"test","listen":"127.0.0.1:1"}')`

describe('programs as children', function () {
  this.timeout(20_000)
  let directory = ''
  const started: Program[] = []

  const start = async (script: string): Promise<Program> => {
    const logPath = join(directory, 'program.log')
    const program = await startProgram({
      name: 'test program',
      command: process.execPath,
      args: ['-e', script],
      logPath,
    })
    started.push(program)
    return program
  }

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cleartap-test-'))
  })

  afterEach(async () => {
    await stopAll(started.splice(0).map((program) => () => program.stop(0)))
    await rm(directory, { recursive: true, force: true })
  })

  it('takes the first JSON line with a service as the ready line', async () => {
    const program = await start(`console.log('hello'); console.log('{"a":1}'); ${ready}; ${forever}`)
    assert.deepEqual(await program.ready(10_000), { service: 'test', listen: '127.0.0.1:1' })
    assert.equal(program.isRunning(), true)
  })

  it('keeps both outputs in the log', async () => {
    const program = await start(`console.error('to stderr'); console.log('to stdout'); ${ready}`)
    await program.ready(10_000)
    await program.exited
    const log = await readFile(program.logPath, 'utf8')
    assert.match(log, /to stderr/)
    assert.match(log, /to stdout/)
  })

  it('says what the log says when the program ends early', async () => {
    const program = await start(`console.error('the disk is full'); process.exit(3)`)
    await assert.rejects(program.ready(10_000), /ended with code 3[\s\S]*the disk is full/)
  })

  it('gives up when no ready line comes in time', async () => {
    const program = await start(forever)
    await assert.rejects(program.ready(200), /printed no ready line in 200 ms/)
  })

  it('asks a program to end', async () => {
    const program = await start(`process.on('SIGTERM', () => process.exit(7)); ${ready}; ${forever}`)
    await program.ready(10_000)
    assert.deepEqual(await program.stop(), { code: 7, signal: null })
    assert.equal(program.isRunning(), false)
  })

  it('kills a program that does not end when asked', async () => {
    const program = await start(`process.on('SIGTERM', () => undefined); ${ready}; ${forever}`)
    await program.ready(10_000)
    assert.deepEqual(await program.stop(100), { code: null, signal: 'SIGKILL' })
  })

  it('refuses a command that is not there', async () => {
    const logPath = join(directory, 'none.log')
    const program = await startProgram({ name: 'none', command: '/nonexistent', args: [], logPath })
    await assert.rejects(program.ready(5000), /none ended with code 127[\s\S]*nonexistent/)
  })

  it('leaves no child behind when the parent is killed', async () => {
    const module = new URL('./process.js', import.meta.url).href
    const options = { name: 'child', command: process.execPath, args: ['-e', forever] }
    const script = `
      const { startProgram } = await import(${JSON.stringify(module)})
      const options = ${JSON.stringify({ ...options, logPath: join(directory, 'child.log') })}
      console.log((await startProgram(options)).pid)`
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [chunk] = (await once(parent.stdout, 'data')) as [Buffer]
    const pid = Number(chunk.toString('utf8'))
    assert.ok(existsSync(`/proc/${pid}`))
    parent.kill('SIGKILL')
    await once(parent, 'exit')
    const deadlineMs = performance.now() + 5000
    while (existsSync(`/proc/${pid}`) && performance.now() < deadlineMs) await sleep(20)
    assert.equal(existsSync(`/proc/${pid}`), false)
  })

  it('stops all, the last first, though one fails', async () => {
    const order: number[] = []
    const stop = (index: number) => async () => {
      order.push(index)
      if (index === 1) throw new Error('stuck')
    }
    await assert.rejects(stopAll([stop(0), stop(1), stop(2)]), /not everything was stopped/)
    assert.deepEqual(order, [2, 1, 0])
  })
})
