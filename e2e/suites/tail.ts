/** Live tails over REST and the real Pulse: latency, resuming, slow readers, readers that go, Pulse that stops. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { get as httpGet, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Request } from '../../gen/cleartap/pulse/v1/query.js'
import { makeEvent, type PulseStack, pathOf, withPulseStack } from '../pulse-stack.js'
import type { Suite, SuiteContext } from '../suite.js'

interface Frame {
  readonly event: string
  readonly id: string
  readonly data: unknown
}

/** A live tail, read frame by frame; what is not read stays in the network. */
class TailReader {
  readonly #response: IncomingMessage
  readonly #chunks: AsyncIterator<unknown>
  #text = ''

  private constructor(response: IncomingMessage) {
    this.#response = response
    this.#chunks = response[Symbol.asyncIterator]()
  }

  static async open(stack: PulseStack, query: string, lastEventId = ''): Promise<TailReader> {
    const headers = lastEventId === '' ? {} : { 'last-event-id': lastEventId }
    const request = httpGet(`http://${stack.http}/api/v1/requests/tail${query}`, { headers })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    return new TailReader(response)
  }

  get status(): number | undefined {
    return this.#response.statusCode
  }

  /** Undefined at the end of the stream. */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n')
      if (end >= 0) {
        const frame = parseFrame(this.#text.slice(0, end))
        this.#text = this.#text.slice(end + 2)
        if (frame !== undefined) return frame
      } else {
        const chunk = await this.#chunks.next()
        if (chunk.done === true) return undefined
        this.#text += String(chunk.value)
      }
    }
  }

  /** The next that is no heartbeat. */
  async nextEvent(): Promise<Frame | undefined> {
    let frame = await this.next()
    while (frame?.event === 'heartbeat') frame = await this.next()
    return frame
  }

  close(): void {
    this.#response.destroy()
  }
}

/** Undefined for a comment. */
function parseFrame(text: string): Frame | undefined {
  const field = (name: string) =>
    text
      .split('\n')
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2)
  const event = field('event')
  return event === undefined
    ? undefined
    : { event, id: field('id') ?? '', data: JSON.parse(field('data') ?? '') }
}

const checkTail = async ({ cell }: SuiteContext, stack: PulseStack): Promise<void> => {
  await cell('tail: what matches comes at once, with its id', async () => {
    const tail = await TailReader.open(stack, '?path=/tail/*&status=200')
    const startMs = performance.now()
    await stack.agent.send([makeEvent(1, '/tail/a'), makeEvent(10, '/tail/b'), makeEvent(2, '/other')])
    await stack.agent.send([makeEvent(3, '/tail/c')])
    const frames = [await tail.nextEvent(), await tail.nextEvent()]
    const ms = Math.round(performance.now() - startMs)
    tail.close()
    assert.deepEqual(
      frames.map((frame) => pathOf(Request.fromJSON(frame?.data))),
      ['/tail/a', '/tail/c'],
    )
    assert.ok(frames.every((frame) => frame?.event === 'request' && frame.id !== ''))
    return `two batches sent, stored and read in ${ms} ms`
  })
  await cell('tail: goes on from Last-Event-ID without a gap', async () => {
    const first = await TailReader.open(stack, '?path=/resume/*')
    await stack.agent.send([makeEvent(1, '/resume/1'), makeEvent(2, '/resume/2')])
    const frame = await first.nextEvent()
    first.close()
    await stack.agent.send([makeEvent(3, '/resume/3')])
    const second = await TailReader.open(stack, '?path=/resume/*', frame?.id)
    await stack.agent.send([makeEvent(4, '/resume/4')])
    const paths = []
    for (let i = 0; i < 3; i += 1) paths.push(pathOf(Request.fromJSON((await second.nextEvent())?.data)))
    second.close()
    assert.deepEqual(paths, ['/resume/2', '/resume/3', '/resume/4'])
    return undefined
  })
  await cell('tail: beats while nothing comes', async () => {
    const tail = await TailReader.open(stack, '?path=/never')
    const frame = await tail.next()
    tail.close()
    assert.equal(frame?.event, 'heartbeat')
    return undefined
  })
  await cell('tail: a made-up token is a problem before it begins', async () => {
    const tail = await TailReader.open(stack, '', 'made-up')
    tail.close()
    assert.equal(tail.status, 400)
    return undefined
  })
  await cell('tail: ends at Pulse when the reader goes', async () => {
    for (let round = 0; round < 6; round += 1) {
      const tails = await Promise.all(Array.from({ length: 20 }, () => TailReader.open(stack, '?path=/gone')))
      for (const tail of tails) {
        assert.equal(tail.status, 200, `round ${round}: places are not given back`)
        tail.close()
      }
    }
    return '120 readers came and went; 100 may be open at one time'
  })
}

const checkSlowReader = ({ cell }: SuiteContext, stack: PulseStack): Promise<boolean> =>
  cell('tail: a reader that does not read costs no memory and is told what it missed', async () => {
    const batches = 12
    const tail = await TailReader.open(stack, '?path=/flood/*&maxEventsPerSecond=10000')
    const before = await residentMib(stack.controlPlane.pid)
    for (let batch = 0; batch < batches; batch += 1) {
      const path = `/flood/${'x'.repeat(1500)}/${batch}`
      await stack.agent.send(Array.from({ length: 1000 }, (_, i) => makeEvent(i, path)))
    }
    const grown = (await residentMib(stack.controlPlane.pid)) - before
    let received = 0n
    let dropped = 0n
    while (received + dropped < BigInt(batches) * 1000n) {
      const frame = await tail.nextEvent()
      assert.ok(frame !== undefined, `the tail ended after ${received} received and ${dropped} dropped`)
      if (frame.event === 'request') received += 1n
      else dropped += BigInt(Object(frame.data).count)
    }
    tail.close()
    assert.equal(received + dropped, BigInt(batches) * 1000n)
    assert.ok(dropped > 0n, 'nothing was dropped, so nothing was proven')
    assert.ok(grown < 150, `the control plane grew by ${grown} MiB`)
    return `${received} received, ${dropped} reported missed, control plane grew by ${grown} MiB`
  })

async function residentMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024)
}

const checkPulseDown = async ({ cell }: SuiteContext, stack: PulseStack): Promise<void> => {
  await cell('Pulse stops: the tail says why it ends, calls are answered 503', async () => {
    const tail = await TailReader.open(stack, '')
    await stack.pulse.stop()
    const frame = await tail.nextEvent()
    assert.equal(frame?.event, 'problem')
    assert.equal(await tail.next(), undefined)
    assert.equal(Object(frame?.data).reason, 'PULSE_UNAVAILABLE')
    const response = await fetch(`http://${stack.http}/api/v1/requests`)
    assert.equal(response.status, 503)
    return undefined
  })
  await cell('Pulse is back: calls work again', async () => {
    stack.pulse = await stack.startPulse()
    const startMs = performance.now()
    for (;;) {
      const { status } = await fetch(`http://${stack.http}/api/v1/requests?pageSize=1`)
      if (status === 200) return `after ${Math.round(performance.now() - startMs)} ms`
      assert.equal(status, 503)
      assert.ok(performance.now() - startMs < 30_000, 'not within 30 s')
      await sleep(100)
    }
  })
}

const run = (context: SuiteContext): Promise<void> =>
  withPulseStack(async (stack) => {
    await checkTail(context, stack)
    await checkSlowReader(context, stack)
    await checkPulseDown(context, stack)
  })

export const suite: Suite = {
  name: 'tail',
  about: 'live tails of the control plane over the real Pulse',
  run,
}
