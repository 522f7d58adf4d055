/** What the services say of themselves: traces and metrics over OTLP, and the admin endpoints. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openQueries } from '../../deploy/local/queries.js'
import type { Service } from '../../deploy/local/service.js'
import type { Stack } from '../../deploy/local/stack.js'
import { startStack } from '../../deploy/local/stack.js'
import { makeBody, send, startTlsServer, type TlsServer } from '../../deploy/local/traffic.js'
import { askAdmin, listenersOn, parseMetrics } from '../admin-endpoints.js'
import { freshPrefix, waitForCount } from '../exchanges.js'
import { OtlpReceiver, type ReceivedSpan } from '../otlp-receiver.js'
import type { Suite, SuiteContext } from '../suite.js'

/** Text that is captured and must not be exported. */
const secret = 'Geheimnis7f3a'
const requests = 5
/** With a collector that does not answer: 3 s for the last flush, and what the service itself needs. */
const stopWithinMs = 8000
/** Where OpenTelemetry exports to if nothing says otherwise. */
const defaultPort = 4318

/** Keys that a span may have, as common/tracing.ts lists them. */
const allowedKeys =
  /^(rpc\.(method|grpc\.status_code)|http\.(request\.method|route|response\.status_code)|db\.(system\.name|collection\.name|response\.status_code)|cleartap\.[a-z_]+)$/
const allowedResourceKeys = /^(service\.(name|instance\.id)|telemetry\.sdk\.(language|name|version))$/

interface Scene {
  readonly stack: Stack
  readonly receiver: OtlpReceiver
  readonly server: TlsServer
}

const services = (stack: Stack): readonly Service[] => [stack.pulse, stack.controlplane, stack.agent]

const traffic = async ({ stack, server }: Scene): Promise<string> => {
  const prefix = freshPrefix('telemetry')
  await makeBody(server.directory, `${secret}.json`, `{"a":"${secret}-body"}`, `{"b":"${secret}-answer"}`)
  for (let i = 0; i < requests; i += 1) {
    await send(server, 'curl', {
      method: 'POST',
      path: `${prefix}/${secret}/${i}/${secret}.json`,
      body: `${secret}.json`,
    })
  }
  const queries = openQueries(stack)
  try {
    await waitForCount({ queries, stack }, prefix, 2 * requests)
  } finally {
    queries.close()
  }
  return prefix
}

const serviceNames = (spans: readonly ReceivedSpan[]): readonly string[] => [
  ...new Set(spans.map(({ service }) => service)),
]

const describeChain = (chain: readonly ReceivedSpan[]): string =>
  chain
    .map(({ name }) => name)
    .toReversed()
    .join(' > ')

const checkIngestTrace = ({ receiver }: Scene): Promise<string> =>
  receiver.waitFor('trace from the agent to the insert', () => {
    for (const insert of receiver.spans) {
      if (insert.name !== 'clickhouse insert' || insert.attributes['db.collection.name'] !== 'requests')
        continue
      const chain = receiver.ancestors(insert)
      if (chain.at(-1)?.name !== 'agent batch') continue
      assert.deepEqual(
        chain.map(({ name }) => name),
        ['pulse block', 'pulse batch', 'agent send', 'agent batch'],
      )
      assert.deepEqual(serviceNames([insert, ...chain]), ['cleartap-pulse', 'cleartap-agent'])
      assert.ok(Number(insert.attributes['cleartap.rows']) > 0)
      const [block, batch] = chain
      assert.ok(
        block?.links.some(({ spanId }) => spanId === batch?.spanId),
        'the block links its batch',
      )
      return describeChain([insert, ...chain])
    }
    return undefined
  })

const checkQueryTrace = async ({ stack, receiver }: Scene, prefix: string): Promise<string> => {
  const path = encodeURIComponent(`${prefix}/${secret}*`)
  const answer = await fetch(`${stack.pageUrl}api/v1/requests?path=${path}`)
  assert.equal(answer.status, 200)
  assert.match(await answer.text(), new RegExp(secret), 'the request itself is found')
  return receiver.waitFor('trace from REST to the query', () => {
    for (const query of receiver.spans) {
      if (query.name !== 'clickhouse query') continue
      const chain = receiver.ancestors(query)
      if (chain.at(-1)?.attributes['http.route'] !== '/api/v1/requests') continue
      const method = 'cleartap.pulse.v1.QueryService/ListRequests'
      assert.deepEqual(
        chain.map(({ name }) => name),
        [method, method, 'GET /api/v1/requests'],
      )
      assert.deepEqual(serviceNames([query, ...chain]), ['cleartap-pulse', 'cleartap-controlplane'])
      assert.ok(Number(query.attributes['cleartap.rows_read']) > 0)
      return describeChain([query, ...chain])
    }
    return undefined
  })
}

const checkConfigPush = async ({ stack, receiver }: Scene): Promise<string> => {
  const answer = await fetch(`${stack.pageUrl}api/v1/revisions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ content: 'capture:\n  level: full\n', note: secret }),
  })
  assert.equal(answer.status, 201, await answer.text())
  const push = await receiver.waitFor('config push', () =>
    receiver.spans.find(({ name }) => name === 'agent config push'),
  )
  assert.equal(push.attributes['cleartap.outcome'], 'applied')
  const metrics = parseMetrics((await askAdmin(stack.agent.address('admin'), '/metrics')).body)
  assert.equal(metrics.get('cleartap_config_version'), Number(push.attributes['cleartap.config_version']))
  return `version ${push.attributes['cleartap.config_version']}`
}

const checkMetrics = async ({ receiver }: Scene): Promise<string> => {
  const promised = {
    'cleartap-agent': [
      'cleartap_events_total',
      'cleartap_capture_lost_records_total',
      'cleartap_library_probes',
    ],
    'cleartap-pulse': ['cleartap_pulse_events_accepted_total', 'cleartap_pulse_commit_seconds_bucket'],
    'cleartap-controlplane': [
      'cleartap_controlplane_sessions',
      'cleartap_controlplane_http_request_duration_seconds_count',
    ],
  }
  for (const [service, names] of Object.entries(promised)) {
    for (const name of names) {
      await receiver.waitFor(`metric ${name} of ${service}`, () =>
        receiver.metrics.get(service)?.has(name) === true ? true : undefined,
      )
    }
  }
  return [...receiver.metrics].map(([service, names]) => `${service} ${names.size}`).join(', ')
}

const checkNothingTold = ({ receiver, server, stack }: Scene, prefix: string): string => {
  assert.ok(receiver.spans.length > 0)
  for (const { name, attributes } of receiver.spans) {
    for (const key of Object.keys(attributes)) assert.match(key, allowedKeys, name)
  }
  for (const key of receiver.resourceKeys) assert.match(key, allowedResourceKeys)
  const planted = [secret, prefix, encodeURIComponent(prefix), server.listen, stack.directory]
  for (const body of receiver.bodies) {
    for (const text of planted) assert.ok(!body.includes(text), `${text} was exported`)
  }
  return `${receiver.spans.length} spans`
}

const promisedCounters: Readonly<Record<Service['name'], readonly RegExp[]>> = {
  agent: [
    /^cleartap_events_total$/,
    /^cleartap_capture_lost_records_total\{reason="ring_full"\}$/,
    /^cleartap_events_dropped_total\{reason="queue_full"\}$/,
    /^cleartap_library_probes\{library="openssl"\}$/,
    /^cleartap_attach_failures_total$/,
    /^cleartap_config_version$/,
    /^cleartap_export_lag_seconds$/,
    /^cleartap_spool_bytes$/,
  ],
  pulse: [
    /^cleartap_pulse_events_accepted_total$/,
    /^cleartap_pulse_events_rejected_total$/,
    /^cleartap_pulse_commit_seconds_count$/,
    /^cleartap_pulse_tail_dropped_total$/,
  ],
  controlplane: [
    /^cleartap_controlplane_sessions$/,
    /^cleartap_controlplane_http_request_duration_seconds_count\{/,
    /^cleartap_controlplane_config_offers_total\{outcome="applied"\}$/,
    /^cleartap_controlplane_pulse_failing$/,
  ],
}

const checkAdmin = async (service: Service): Promise<string> => {
  const address = service.address('admin')
  assert.deepEqual(await askAdmin(address, '/healthz'), { status: 200, body: 'ok\n' })
  assert.deepEqual(await askAdmin(address, '/readyz'), { status: 200, body: 'ok\n' })
  const metrics = parseMetrics((await askAdmin(address, '/metrics')).body)
  for (const promised of promisedCounters[service.name]) {
    assert.ok(
      [...metrics.keys()].some((name) => promised.test(name)),
      `${promised} is missing`,
    )
  }
  for (const path of ['/metrics', '/healthz', '/readyz']) {
    assert.equal((await askAdmin(address, path, 'attacker.example')).status, 403, path)
  }
  assert.deepEqual(await listenersOn(service), ['0100007F'])
  return `${metrics.size} series`
}

const childrenOf = async (pid: number): Promise<readonly number[]> => {
  const threads = await readdir(`/proc/${pid}/task`)
  const lists = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => '')),
  )
  return lists.flatMap((list) => list.split(' ').filter((word) => word.trim() !== '')).map(Number)
}

/** Asks /readyz until it gives the status; nothing listening counts as no answer. */
const waitForReady = async (address: string, status: number, timeoutMs: number): Promise<string> => {
  const deadlineMs = performance.now() + timeoutMs
  for (;;) {
    const answer = await askAdmin(address, '/readyz').catch(() => undefined)
    if (answer?.status === status) return answer.body.trim()
    assert.ok(performance.now() < deadlineMs, `/readyz never was ${status}, last ${answer?.status}`)
    await sleep(2)
  }
}

const checkPulseReadiness = async ({ pulse }: Stack): Promise<string> => {
  const address = pulse.address('admin')
  for (const pid of await childrenOf(pulse.pid)) process.kill(pid, 'SIGKILL')
  const reason = await waitForReady(address, 503, 10_000)
  assert.equal(reason, 'the embedded engine is down')
  assert.equal((await askAdmin(address, '/healthz')).status, 200)
  await waitForReady(address, 200, 30_000)
  return reason
}

const checkAgentReadiness = async ({ agent }: Stack): Promise<string> => {
  const address = agent.address('admin')
  await agent.stop()
  const starting = agent.start()
  const reason = await waitForReady(address, 503, 30_000)
  assert.equal(reason, 'probes are being attached')
  await starting
  assert.equal((await askAdmin(address, '/readyz')).status, 200)
  return reason
}

/** It still steers agents: only its gauge says that Pulse is gone. */
const checkControlPlaneWithoutPulse = async ({ pulse, controlplane, pageUrl }: Stack): Promise<string> => {
  const address = controlplane.address('admin')
  const failing = async () =>
    parseMetrics((await askAdmin(address, '/metrics')).body).get('cleartap_controlplane_pulse_failing')
  await pulse.stop()
  assert.equal((await fetch(`${pageUrl}api/v1/requests`)).status, 503)
  assert.equal(await failing(), 1)
  assert.equal((await askAdmin(address, '/readyz')).status, 200)
  await pulse.start()
  await waitForReady(pulse.address('admin'), 200, 30_000)
  const deadlineMs = performance.now() + 30_000
  while ((await fetch(`${pageUrl}api/v1/requests`)).status !== 200) {
    assert.ok(performance.now() < deadlineMs, 'requests fail for 30 s after Pulse is back')
    await sleep(200)
  }
  assert.equal(await failing(), 0)
  return 'ready, requests refused with 503'
}

/** The collector is gone: the services go on, say it once, and end in time. */
const checkCollectorDown = async ({ stack, receiver }: Scene): Promise<string> => {
  await receiver.stop()
  await sleep(4000)
  assert.equal((await fetch(`${stack.pageUrl}api/v1/requests`)).status, 200)
  const took: string[] = []
  for (const service of services(stack).toReversed()) {
    const startMs = performance.now()
    await service.stop()
    const tookMs = Math.round(performance.now() - startMs)
    took.push(`${service.name} ${tookMs} ms`)
    assert.ok(tookMs < stopWithinMs, `${service.name} took ${tookMs} ms to stop`)
    const log = await readFile(service.logPath, 'utf8')
    assert.equal(
      log.split('telemetry is not exported').length - 1,
      1,
      `${service.name} says it once\n${log.slice(-2000)}`,
    )
  }
  return `stopped: ${took.join(', ')}`
}

const withScene = async (
  env: Readonly<Record<string, string>>,
  receiver: OtlpReceiver,
  use: (scene: Scene) => Promise<void>,
): Promise<void> => {
  const stack = await startStack({ env })
  try {
    const directory = join(stack.directory, 'traffic')
    await mkdir(directory)
    const server = await startTlsServer(directory)
    try {
      await use({ stack, receiver, server })
    } finally {
      await server.program.stop()
    }
  } finally {
    await stack.stop()
  }
}

const checkOn = async ({ cell }: SuiteContext, scene: Scene): Promise<void> => {
  const { stack } = scene
  const prefix = await traffic(scene)
  await cell('one trace: agent, Pulse, insert', () => checkIngestTrace(scene))
  await cell('one trace: REST, Pulse, query', () => checkQueryTrace(scene, prefix))
  await cell('span of a pushed configuration', () => checkConfigPush(scene))
  await cell('metrics of all three services', () => checkMetrics(scene))
  for (const service of services(stack)) {
    await cell(`${service.name}: healthz, readyz, metrics, loopback only`, () => checkAdmin(service))
  }
  await cell('Pulse is not ready without its engine', () => checkPulseReadiness(stack))
  await cell('the agent is not ready before its probes', () => checkAgentReadiness(stack))
  await cell('the control plane without Pulse', () => checkControlPlaneWithoutPulse(stack))
  await cell('nothing captured is exported', () => checkNothingTold(scene, prefix))
  await cell('the collector is down: said once, nothing waits', () => checkCollectorDown(scene))
}

const settings = (endpoint: string): Readonly<Record<string, string>> => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  OTEL_EXPORTER_OTLP_PROTOCOL: endpoint === '' ? '' : 'http/json',
  OTEL_METRIC_EXPORT_INTERVAL: '1000',
  OTEL_METRIC_EXPORT_TIMEOUT: '1000',
  OTEL_BSP_SCHEDULE_DELAY: '500',
})

const checkOff = async ({ cell }: SuiteContext): Promise<void> => {
  const receiver = await OtlpReceiver.start(defaultPort)
  try {
    await withScene(settings(''), receiver, async (scene) => {
      await traffic(scene)
      await cell('without OTEL_* nothing connects to the default endpoint', async () => {
        for (const service of services(scene.stack)) await service.stop()
        assert.equal(receiver.connections, 0)
        return `port ${defaultPort}: ${receiver.connections} connections`
      })
    })
  } finally {
    await receiver.stop()
  }
}

const run = async (context: SuiteContext): Promise<void> => {
  const receiver = await OtlpReceiver.start()
  await withScene(settings(receiver.url), receiver, (scene) => checkOn(context, scene))
  await checkOff(context)
}

export const suite: Suite = {
  name: 'telemetry',
  about: 'traces and metrics over OTLP, nothing captured in them; admin endpoints; off without OTEL_*',
  run,
}
