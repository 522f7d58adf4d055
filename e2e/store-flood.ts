/** More exchanges than the store takes, through the real agent: events stay in time, and it recovers by itself. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { httpOf } from '../deploy/local/captured.js'
import { openQueries, type Queries } from '../deploy/local/queries.js'
import { type Stack, startStack } from '../deploy/local/stack.js'
import {
  makeBodies,
  makeBody,
  send,
  sendOnKeptConnections,
  startTlsServer,
  type TlsServer,
} from '../deploy/local/traffic.js'
import { ArtifactKind, type ArtifactRef } from '../gen/cleartap/event/v1/event.js'
import { askAdmin, parseMetrics } from './admin-endpoints.js'
import { freshPrefix, waitForCount } from './exchanges.js'
import type { SuiteContext } from './suite.js'
import { startThrottleProxy, type ThrottleProxy } from './throttle-proxy.js'

const connections = 50
const perConnection = 40
const bodyBytes = 1024
/** About 100 objects a second, so that the burst takes the store more than half a minute. */
const slowBytesPerSecond = 120_000
const eventWithinMs = 15_000
const recoverWithinMs = 120_000
/** Grace for the store and for the sink, and what the agent itself needs. */
const stopWithinMs = 12_000

interface Scene {
  readonly stack: Stack
  readonly queries: Queries
  readonly server: TlsServer
  readonly proxy: ThrottleProxy
}

interface Shot {
  readonly tookMs: number
  /** Of both sides. */
  readonly artifacts: readonly ArtifactRef[]
}

/** One POST with bodies that no store has seen; both its events must come in time. */
const shoot = async (scene: Scene): Promise<Shot> => {
  const prefix = freshPrefix('flood-one')
  const [asked, answered] = [randomBytes(500).toString('hex'), randomBytes(500).toString('hex')]
  await makeBody(scene.server.directory, 'shot.txt', asked, answered)
  const startMs = performance.now()
  await send(scene.server, 'curl', { method: 'POST', path: `${prefix}/shot.txt`, body: 'shot.txt' })
  const stored = await waitForCount(scene, prefix, 2, eventWithinMs)
  const tookMs = performance.now() - startMs
  assert.ok(tookMs < eventWithinMs, `the events came after ${tookMs.toFixed(0)} ms`)
  return { tookMs, artifacts: stored.flatMap((request) => httpOf(request)?.artifacts ?? []) }
}

const isWhole = ({ artifacts }: Shot): boolean =>
  artifacts.filter(({ kind }) => kind === ArtifactKind.ARTIFACT_KIND_HTTP_HEADERS).length === 2 &&
  artifacts.filter(({ kind }) => kind === ArtifactKind.ARTIFACT_KIND_HTTP_REQUEST_BODY).length === 2 &&
  artifacts.filter(({ kind }) => kind === ArtifactKind.ARTIFACT_KIND_HTTP_RESPONSE_BODY).length === 2

const metricsOf = async ({ stack }: Scene): Promise<(name: string) => number> => {
  const { body } = await askAdmin(stack.agent.address('admin'), '/metrics')
  const values = parseMetrics(body)
  return (name) => values.get(name) ?? assert.fail(`no metric ${name}`)
}

const dropped = (reason: string): string => `cleartap_objects_dropped_total{reason="${reason}"}`

const checkFlood = async (scene: Scene): Promise<string> => {
  scene.proxy.setBytesPerSecond(slowBytesPerSecond)
  const prefix = freshPrefix('flood')
  await sendOnKeptConnections(scene.server, prefix, connections, perConnection, bodyBytes)
  const first = await shoot(scene)
  await waitForCount(scene, prefix, 2 * connections * perConnection, eventWithinMs)
  const shots = [first]
  const startMs = performance.now()
  for (;;) {
    const shot = await shoot(scene)
    shots.push(shot)
    const metric = await metricsOf(scene)
    if (isWhole(shot) && metric(dropped('behind_body')) > 0) break
    const waitedMs = performance.now() - startMs
    assert.ok(waitedMs < recoverWithinMs, `bodies are not stored again after ${waitedMs.toFixed(0)} ms`)
  }
  scene.proxy.setBytesPerSecond(Number.POSITIVE_INFINITY)
  const leftOut = shots.filter((shot) => !isWhole(shot)).length
  assert.ok(leftOut > 0, 'nothing was left out')
  const metric = await metricsOf(scene)
  const counts = ['behind_body', 'behind_headers'].map((reason) => `${reason} ${metric(dropped(reason))}`)
  const slowest = Math.max(...shots.map(({ tookMs }) => tookMs))
  return [
    `first event after ${first.tookMs.toFixed(0)} ms, slowest ${slowest.toFixed(0)} ms`,
    `left out of ${leftOut} of ${shots.length} shots (${counts.join(', ')})`,
    `named underway ${metric('cleartap_artifacts_underway_total')}`,
    `whole again after ${((performance.now() - startMs) / 1000).toFixed(0)} s`,
  ].join('; ')
}

const checkQuiet = async (scene: Scene): Promise<string> => {
  const shot = await shoot(scene)
  assert.ok(isWhole(shot), 'objects are missing')
  for (const artifact of shot.artifacts) await scene.queries.fetchObject(artifact)
  const metric = await metricsOf(scene)
  assert.equal(metric('cleartap_objects_failed_total'), 0)
  return `${shot.artifacts.length} objects, events after ${shot.tookMs.toFixed(0)} ms`
}

const checkStop = async (scene: Scene): Promise<string> => {
  scene.proxy.setBytesPerSecond(0)
  const prefix = freshPrefix('silent')
  await sendOnKeptConnections(scene.server, prefix, connections, 2, bodyBytes)
  const startMs = performance.now()
  await scene.stack.agent.stop()
  const tookMs = performance.now() - startMs
  assert.ok(tookMs < stopWithinMs, `it took ${tookMs.toFixed(0)} ms`)
  await waitForCountOffline(scene, prefix, 2 * connections * 2)
  const log = await readFile(scene.stack.agent.logPath, 'utf8')
  assert.match(log, /objects were not stored, since the start/)
  assert.doesNotMatch(log, /did not stop in time/)
  return `ended after ${tookMs.toFixed(0)} ms, every event there`
}

/** As waitForCount, of an agent that has ended. */
const waitForCountOffline = async ({ queries }: Scene, prefix: string, count: number): Promise<void> => {
  const found = await queries.waitByPath(prefix, (requests) => requests.length >= count, eventWithinMs)
  assert.equal(found.length, count)
}

const runCells = async ({ cell }: SuiteContext, scene: Scene): Promise<void> => {
  await cell('through a proxy: every object of an exchange', () => checkQuiet(scene))
  const count = connections * perConnection
  await cell(`slow store, ${count} requests at once: events in time, bodies again later`, () =>
    checkFlood(scene),
  )
  await cell('afterwards every object again', () => checkQuiet(scene))
  await cell('silent store: the agent ends in time', () => checkStop(scene))
}

const startBehind = (proxy: ThrottleProxy): Promise<Stack> =>
  startStack({
    agent: {
      stores: [
        {
          type: 's3',
          endpoint: proxy.endpoint,
          bucket: 'cleartap',
          access_key_id: { env: 'CLEARTAP_S3_ACCESS_KEY_ID' },
          secret_access_key: { env: 'CLEARTAP_S3_SECRET_ACCESS_KEY' },
        },
      ],
    },
  })

const withServer = async (context: SuiteContext, stack: Stack, proxy: ThrottleProxy): Promise<void> => {
  const directory = join(stack.directory, 'traffic')
  await mkdir(directory)
  await makeBodies(directory, [bodyBytes])
  const server = await startTlsServer(directory)
  const queries = openQueries(stack)
  try {
    await runCells(context, { stack, queries, server, proxy })
  } finally {
    queries.close()
    await server.program.stop()
  }
}

/** Needs what startStack needs. */
export const checkStoreFlood = async (context: SuiteContext): Promise<void> => {
  const proxy = await startThrottleProxy()
  try {
    const stack = await startBehind(proxy)
    proxy.leadTo(stack.s3.endpoint)
    try {
      await withServer(context, stack, proxy)
    } finally {
      await stack.stop()
    }
  } finally {
    await proxy.stop()
  }
}
