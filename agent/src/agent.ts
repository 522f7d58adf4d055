/** The composition root of the service: who is wired to whom, and in which order it stops. No logic. */
import { readFileSync } from 'node:fs'
import { arch, hostname, release } from 'node:os'
import { join } from 'node:path'
import type { Registry } from 'prom-client'
import { UUID } from 'uuidv7'
import { startAdminServer } from '../../common/admin-server.js'
import type { AgentConfig, CaptureConfig } from '../../common/config/schema.js'
import type { Lifecycle } from '../../common/lifecycle.js'
import type { Logger } from '../../common/log.js'
import { readSecret } from '../../common/secret.js'
import { version } from '../../common/version.js'
import { loadAgentId } from './agent-id.js'
import { type AgentParts, exportConfigClient, exportMetrics } from './agent-metrics.js'
import { agentReport } from './agent-report.js'
import { type AgentDescription, ConfigClient } from './config-client.js'
import { EventMaker } from './exchange/to-event.js'
import { Metrics } from './metrics.js'
import { observe, requireHost } from './observe.js'
import { HttpCapture } from './plugins/index.js'
import { type ConfiguredSink, createSink, type EventSink } from './sinks/index.js'
import { type ConfiguredStore, createStore } from './stores/index.js'

/** How long events may wait for Pulse when the agent ends; the spool keeps the rest. */
const sinkGraceMs = 5000
/** How long objects may take to be stored when the agent ends; the rest are given up and counted. */
const storeGraceMs = 5000

export interface AgentDependencies {
  readonly config: AgentConfig
  /** For secrets by reference. */
  readonly env: NodeJS.ProcessEnv
  readonly logger: Logger
  /** Everything started is added to it; the caller stops it, also when the start fails. */
  readonly lifecycle: Lifecycle
  /** For stdout sinks and stores. */
  readonly stdout: NodeJS.WriteStream
}

export interface Agent {
  /** HOST:PORT of /metrics, /healthz and /readyz. */
  readonly admin: string
  /** UUIDv7. */
  readonly agentId: string
  readonly registry: Registry
}

/**
 * Resolves when the probes are in place. What is stopped, in this order: control plane, capture (detach, drain
 * the rings, end connections), store, events of the exchanges whose objects it held, sink, admin endpoints.
 */
export async function startAgent(dependencies: AgentDependencies): Promise<Agent> {
  const { config, logger, lifecycle } = dependencies
  requireHost()
  const agentId = await loadAgentId(config.data_dir)
  const metrics = new Metrics()
  let notReady: string | undefined = 'probes are being attached'
  const admin = await startAdminServer({
    listen: config.admin.listen,
    registry: metrics.registry,
    logger,
    notReady: () => notReady,
  })
  lifecycle.add('admin endpoints', () => admin.stop())
  const parts = await startParts(dependencies, agentId)
  exportMetrics(metrics, parts)
  await startConfigClient(dependencies, agentId, parts, metrics)
  notReady = undefined
  lifecycle.add('readiness', () => {
    notReady = 'stopping'
  })
  return { admin: admin.address, agentId: UUID.ofInner(agentId).toString(), registry: metrics.registry }
}

async function startParts(dependencies: AgentDependencies, agentId: Uint8Array): Promise<AgentParts> {
  const { config, logger, lifecycle } = dependencies
  const sink = openSink(dependencies, agentId)
  const events = sink?.sink ?? discard
  lifecycle.add('sink', () => events.close(sinkGraceMs))
  const store = openStore(dependencies)
  const maker = new EventMaker()
  const { capture, org } = config
  const log = logger.child({ part: 'http-capture' })
  const http = new HttpCapture({ level: capture.level, org, store: store?.store, sink: events, maker, log })
  lifecycle.add('http-capture', () => http.drain())
  lifecycle.add('store', () => store?.store.close(storeGraceMs))
  const observation = await observe({
    targets: { mode: 'all' },
    config,
    logger: logger.child({ part: 'capture' }),
    wantsBodies: store !== undefined,
    onExchange: (exchange) => http.onExchange(exchange),
    onConnectionPart: (part) => events.write(maker.fromConnection(part)),
  })
  lifecycle.add('capture', () => observation.stop())
  return { observation, http, sink, store }
}

async function startConfigClient(
  { config, logger, lifecycle }: AgentDependencies,
  agentId: Uint8Array,
  parts: AgentParts,
  metrics: Metrics,
): Promise<void> {
  if (config.control_plane === undefined) return
  const client = await ConfigClient.start({
    address: config.control_plane.address,
    dataDir: config.data_dir,
    agent: describeAgent(agentId),
    apply: async (capture: CaptureConfig) => {
      parts.observation.apply(capture)
      parts.http.setLevel(capture.level)
    },
    report: () => agentReport(parts),
    logger: logger.child({ part: 'config' }),
  })
  exportConfigClient(metrics, client)
  lifecycle.add('control plane', () => client.close())
}

function openSink(dependencies: AgentDependencies, agentId: Uint8Array): ConfiguredSink | undefined {
  const { config, logger, stdout } = dependencies
  const [sink] = config.sinks
  if (sink === undefined) {
    logger.warn('no sink is configured: events are made and dropped')
    return undefined
  }
  return createSink(sink, {
    identity: { agentId, version, host: hostname() },
    spoolDirectory: join(config.data_dir, 'spool'),
    output: stdout,
    colour: stdout.isTTY,
    log: logger.child({ part: 'sink' }),
  })
}

function openStore({ config, env, stdout }: AgentDependencies): ConfiguredStore | undefined {
  const [store] = config.stores
  return store && createStore(store, { secretOf: (reference) => readSecret(reference, env), output: stdout })
}

const discard: EventSink = { write() {}, async close() {} }

function describeAgent(agentId: Uint8Array): AgentDescription {
  return {
    agentId,
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    version,
    host: hostname(),
    kernel: release(),
    architecture: arch(),
    labels: {},
  }
}
