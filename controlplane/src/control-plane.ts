/** The control plane, wired. */
import { connectivityState } from '@grpc/grpc-js'
import type { Registry } from 'prom-client'
import type { ControlplaneConfig } from '../../common/config/schema.js'
import { connect, createRpcClient } from '../../common/grpc-client.js'
import { startGrpcServer } from '../../common/grpc-server.js'
import { Lifecycle } from '../../common/lifecycle.js'
import { formatAddress, isLoopback, parseAddress } from '../../common/listen-address.js'
import type { Logger } from '../../common/log.js'
import { readSecret } from '../../common/secret.js'
import { ConfigServiceDefinition } from '../../gen/cleartap/controlplane/v1/config.js'
import { ObjectServiceDefinition } from '../../gen/cleartap/controlplane/v1/objects.js'
import { QueryServiceDefinition } from '../../gen/cleartap/pulse/v1/query.js'
import { createConfigService } from './grpc/config-service.js'
import { createObjectService } from './grpc/object-service.js'
import { Sessions } from './grpc/sessions.js'
import { createMetrics } from './metrics.js'
import { ObjectSigner, publicOrigins } from './objects/signer.js'
import { createRestServer } from './rest/server.js'
import { openControlStore } from './store/store.js'

/** How long streams may take to end at shutdown. */
const drainMs = 3_000

const defaultPulseTimeoutMs = 30_000

export interface ControlPlaneOptions {
  readonly config: ControlplaneConfig
  /** Where secrets that are given as {env: NAME} are read from. */
  readonly env: NodeJS.ProcessEnv
  readonly logger: Logger
  /** Where the built web page lies; it need not exist. */
  readonly pageDirectory: string
  /** How long Pulse may take for an answer to a REST call; absent: 30 s. */
  readonly pulseTimeoutMs?: number
}

export interface ControlPlane {
  /** HOST:PORT as bound, gRPC. */
  readonly address: string
  /** HOST:PORT as bound, REST and page. */
  readonly httpAddress: string
  readonly registry: Registry
  /** Drains the agents' streams, then closes everything. */
  stop(): Promise<void>
}

/** Starts everything; what was started is stopped again if a later part fails. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const lifecycle = new Lifecycle(options.logger)
  try {
    return await start(options, lifecycle)
  } catch (error) {
    await lifecycle.stop()
    throw error
  }
}

async function start(options: ControlPlaneOptions, lifecycle: Lifecycle): Promise<ControlPlane> {
  const { config, logger } = options
  const store = await openControlStore(config.data_dir)
  lifecycle.add('database', () => store.close())
  const signer = createSigner(options)
  lifecycle.add('signer', () => signer.close())
  const channel = connect(config.pulse.address)
  lifecycle.add('pulse', () => channel.close())
  const metrics = createMetrics({
    openSessions: () => sessions.size,
    isPulseFailing: () => channel.getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE,
  })
  const sessions = await Sessions.create({
    store,
    log: logger,
    now: Date.now,
    onOutcome: metrics.countOffer,
    options: {
      heartbeatIntervalMs: config.heartbeat_interval_ms,
      reconnectMinMs: config.reconnect_min_ms,
      reconnectMaxMs: config.reconnect_max_ms,
    },
  })
  const grpc = await startGrpc(options, store, sessions, signer)
  lifecycle.add('grpc', async () => {
    sessions.drain()
    await grpc.stop(drainMs)
  })
  const stopping = new AbortController()
  const rest = await createRestServer({
    store,
    sessions,
    signer,
    query: createRpcClient(QueryServiceDefinition, channel),
    log: logger,
    pulseTimeoutMs: options.pulseTimeoutMs ?? defaultPulseTimeoutMs,
    stopping: stopping.signal,
    listen: config.http.listen,
    connectOrigins: publicOrigins(config.stores),
    pageDirectory: options.pageDirectory,
    onAnswer: metrics.observeAnswer,
  })
  lifecycle.add('http', async () => {
    stopping.abort()
    await rest.close()
  })
  const httpAddress = await listen(rest, config.http.listen, logger)
  grpc.setServing(true)
  return { address: grpc.address, httpAddress, registry: metrics.registry, stop: () => lifecycle.stop() }
}

function startGrpc(
  { config, logger }: ControlPlaneOptions,
  store: Awaited<ReturnType<typeof openControlStore>>,
  sessions: Sessions,
  signer: ObjectSigner,
) {
  return startGrpcServer({
    listen: config.listen,
    logger,
    services: [ConfigServiceDefinition.fullName, ObjectServiceDefinition.fullName],
    register: (server) => {
      const reconnectMinMs = config.reconnect_min_ms
      server.add(
        ConfigServiceDefinition,
        createConfigService({ sessions, store, log: logger, reconnectMinMs }),
      )
      server.add(ObjectServiceDefinition, createObjectService(signer))
    },
  })
}

function createSigner({ config, env }: ControlPlaneOptions): ObjectSigner {
  const stores = config.stores.map((store) => ({
    config: store,
    accessKeyId: store.access_key_id && readSecret(store.access_key_id, env),
    secretAccessKey: store.secret_access_key && readSecret(store.secret_access_key, env),
  }))
  return new ObjectSigner(stores, Date.now)
}

async function listen(
  rest: Awaited<ReturnType<typeof createRestServer>>,
  address: string,
  logger: Logger,
): Promise<string> {
  const { host, port } = parseAddress(address)
  if (!isLoopback(host)) {
    logger.warn({ listen: address }, 'REST and page are reachable from other machines, without login or TLS')
  }
  await rest.listen({ host, port })
  const bound = rest.server.address()
  if (typeof bound !== 'object' || bound === null) throw new Error(`not listening on ${address}`)
  return formatAddress({ host, port: bound.port })
}
