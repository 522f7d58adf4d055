/** kill -9 of each part while events flow: what the agent produced is stored exactly once. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Queries } from '../../deploy/local/queries.js'
import { openQueries } from '../../deploy/local/queries.js'
import type { Stack } from '../../deploy/local/stack.js'
import { startStack } from '../../deploy/local/stack.js'
import type { SteadyRequest, TlsServer } from '../../deploy/local/traffic.js'
import { makeBodies, sendSteadily, startTlsServer } from '../../deploy/local/traffic.js'
import type { Request } from '../../gen/cleartap/pulse/v1/query.js'
import { freshPrefix, onSide } from '../exchanges.js'
import type { Suite, SuiteContext } from '../suite.js'

const perSecond = 50
const bodyBytes = 1024
const beforeKillMs = 3000
const arrivalTimeoutMs = 60_000
/** What an agent had finished this long before it was killed must be on disk. */
const spooledAfterMs = 1500

interface Scene {
  readonly stack: Stack
  readonly queries: Queries
  readonly server: TlsServer
  /** Kills in one cell. */
  readonly rounds: number
}

const childrenOf = async (pid: number): Promise<readonly number[]> => {
  const threads = await readdir(`/proc/${pid}/task`)
  const lists = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => '')),
  )
  return lists.flatMap((list) => list.split(' ').filter((word) => word.trim() !== '')).map(Number)
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const waitUntilGone = async (pids: readonly number[], timeoutMs: number): Promise<void> => {
  const deadlineMs = performance.now() + timeoutMs
  while (pids.some(isAlive)) {
    assert.ok(
      performance.now() < deadlineMs,
      `still alive after ${timeoutMs} ms: ${pids.filter(isAlive).join(', ')}`,
    )
    await sleep(50)
  }
}

/** Each path exactly once on each side, and no event id twice. */
const assertExactlyOnce = (stored: readonly Request[], paths: readonly string[]): void => {
  for (const side of ['client', 'server'] as const) {
    const found = onSide(stored, side).map(({ path }) => path)
    const counts = new Map<string, number>()
    for (const path of found) counts.set(path, (counts.get(path) ?? 0) + 1)
    const twice = [...counts].filter(([, count]) => count > 1).map(([path]) => path)
    assert.deepEqual(twice, [], `stored more than once on the ${side} side`)
    const missing = paths.filter((path) => !counts.has(path))
    assert.deepEqual(missing, [], `${missing.length} of ${paths.length} are missing on the ${side} side`)
  }
  const ids = new Set(stored.map(({ event }) => Buffer.from(event?.eventId ?? []).toString('hex')))
  assert.equal(ids.size, stored.length, 'event ids')
}

/** Traffic during which interrupt is called once a round; returns the path prefix and what was sent. */
const sendWhile = async (
  { server, rounds }: Scene,
  interrupt: () => Promise<void>,
): Promise<{ readonly prefix: string; readonly sent: readonly SteadyRequest[] }> => {
  const prefix = freshPrefix('kill')
  const seconds = (rounds * 2 * beforeKillMs) / 1000 + 2
  const sending = sendSteadily(server, prefix, seconds, perSecond, bodyBytes)
  const interrupting = (async () => {
    for (let round = 0; round < rounds; round += 1) {
      await sleep(beforeKillMs)
      await interrupt()
    }
  })()
  const [sent] = await Promise.all([sending, interrupting])
  return { prefix, sent }
}

const checkAllStored = async (scene: Scene, interrupt: () => Promise<void>): Promise<string> => {
  const { prefix, sent } = await sendWhile(scene, interrupt)
  const expected = 2 * sent.length
  const stored = await scene.queries.waitByPath(prefix, (found) => found.length >= expected, arrivalTimeoutMs)
  assertExactlyOnce(
    stored,
    sent.map(({ path }) => path),
  )
  return `${scene.rounds} kills, ${stored.length} events, each once`
}

const checkPulse = ({ cell }: SuiteContext, scene: Scene): Promise<boolean> =>
  cell('kill -9 of Pulse: every event once', () =>
    checkAllStored(scene, async () => {
      const { pulse } = scene.stack
      const children = await childrenOf(pulse.pid)
      assert.ok(children.length > 0, 'Pulse has no ClickHouse child')
      await pulse.kill()
      await waitUntilGone(children, 10_000)
      await pulse.start()
    }),
  )

const checkClickHouse = ({ cell }: SuiteContext, scene: Scene): Promise<boolean> =>
  cell('kill -9 of the ClickHouse child: every event once', () =>
    checkAllStored(scene, async () => {
      const { pulse } = scene.stack
      const children = await childrenOf(pulse.pid)
      assert.ok(children.length > 0, 'Pulse has no ClickHouse child')
      for (const pid of children) process.kill(pid, 'SIGKILL')
      await waitUntilGone(children, 10_000)
      assert.ok(pulse.program.isRunning(), 'Pulse ended with its child')
    }),
  )

/** One kill in the middle of traffic, a restart, traffic again; returns the paths that must be stored. */
const killAgentOnce = async ({ server, stack }: Scene, prefix: string): Promise<readonly string[]> => {
  const sending = sendSteadily(server, `${prefix}/before`, (2 * beforeKillMs) / 1000, perSecond, bodyBytes)
  await sleep(beforeKillMs)
  const sureUntilMs = Date.now() - spooledAfterMs
  await stack.agent.kill()
  const before = await sending
  await stack.agent.start()
  const after = await sendSteadily(server, `${prefix}/after`, 1, perSecond, bodyBytes)
  const sure = before.filter(({ endMs }) => endMs < sureUntilMs)
  assert.ok(
    sure.length > 0 && sure.length < before.length,
    `${sure.length} of ${before.length} before the kill`,
  )
  return [...sure, ...after].map(({ path }) => path)
}

const checkAgent = ({ cell }: SuiteContext, scene: Scene): Promise<boolean> =>
  cell('kill -9 of the agent: what it had spooled, once', async () => {
    const prefix = freshPrefix('kill')
    const sure: string[] = []
    for (let round = 0; round < scene.rounds; round += 1) {
      sure.push(...(await killAgentOnce(scene, `${prefix}/${round}`)))
    }
    const isComplete = (found: readonly Request[]): boolean =>
      (['client', 'server'] as const).every((side) => {
        const stored = new Set(onSide(found, side).map(({ path }) => path))
        return sure.every((path) => stored.has(path))
      })
    const stored = await scene.queries.waitByPath(prefix, isComplete, arrivalTimeoutMs)
    assertExactlyOnce(stored, sure)
    return `${scene.rounds} kills, ${stored.length} events, each once; ${2 * sure.length} had to be there`
  })

const run = async (context: SuiteContext): Promise<void> => {
  const stack = await startStack()
  try {
    const directory = join(stack.directory, 'traffic')
    await mkdir(directory)
    await makeBodies(directory, [bodyBytes])
    const server = await startTlsServer(directory)
    const queries = openQueries(stack)
    try {
      const scene = { stack, queries, server, rounds: context.full ? 10 : 1 }
      await checkPulse(context, scene)
      await checkClickHouse(context, scene)
      await checkAgent(context, scene)
    } finally {
      queries.close()
      await server.program.stop()
    }
  } finally {
    await stack.stop()
  }
}

export const suite: Suite = {
  name: 'kill',
  about: 'kill -9 of Pulse, of its ClickHouse, of the agent while events flow: stored exactly once',
  run,
}
