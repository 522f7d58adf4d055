/** Pulse put together: store, writer, services, servers. Wiring only. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Registry } from 'prom-client'
import { type AdminServer, startAdminServer } from '../../common/admin-server.js'
import type { PulseConfig } from '../../common/config/schema.js'
import { startGrpcServer } from '../../common/grpc-server.js'
import { Lifecycle } from '../../common/lifecycle.js'
import type { Logger } from '../../common/log.js'
import { IngestServiceDefinition } from '../../gen/cleartap/pulse/v1/ingest.js'
import { QueryServiceDefinition } from '../../gen/cleartap/pulse/v1/query.js'
import { BatchIntake } from './batch-intake.js'
import { BlockWriter } from './clickhouse/writer.js'
import { DeadLetters } from './dead-letters.js'
import { IngestService } from './ingest.js'
import { createMetrics, type Metrics } from './metrics.js'
import { QueryService } from './query.js'
import { type EventStore, openStore } from './store.js'
import { findEnding, Streams } from './streams.js'
import { Tail } from './tail.js'
import { TailFeed } from './tail-feed.js'
import { openTokenSigner } from './tokens.js'

export interface Pulse {
  /** HOST:PORT of gRPC, as bound. */
  readonly listen: string
  /** HOST:PORT of /metrics, as bound. */
  readonly admin: string
  readonly registry: Registry
  /** What it writes to. */
  readonly store: EventStore
  /** Drains, commits what was taken, and ends everything. */
  stop(): Promise<void>
}

const DRAIN_MS = 3_000
const COMMIT_GRACE_MS = 5_000
const ENGINE_GRACE_MS = 5_000
const STEP_TIMEOUT_MS = 15_000
const MIB = 1024 * 1024
/** Commits that fail this long make Pulse not ready. */
const UNREADY_AFTER_MS = 5_000
/** HTTP/2 window of each agent's connection. */
const WINDOW_BYTES = MIB
/** Room around a batch in its message. */
const MESSAGE_ROOM_BYTES = 64 * 1024

/** Resolves when Pulse serves. Throws if it cannot; then nothing is left running. */
export async function startPulse(
  config: PulseConfig,
  logger: Logger,
  env: NodeJS.ProcessEnv,
): Promise<Pulse> {
  const lifecycle = new Lifecycle(logger, STEP_TIMEOUT_MS)
  try {
    const store = await openStore(config, logger, env)
    lifecycle.add('store', () => store.close(ENGINE_GRACE_MS))
    return await serve(config, logger, store, lifecycle)
  } catch (error) {
    await lifecycle.stop()
    throw error
  }
}

async function serve(
  config: PulseConfig,
  logger: Logger,
  store: EventStore,
  lifecycle: Lifecycle,
): Promise<Pulse> {
  const metrics: Metrics = createMetrics({
    openStreams: () => ingest.openStreams,
    pendingBytes: () => writer.pendingBytes,
    engineRestarts: () => store.engine?.restarts ?? 0,
    tailReaders: () => feed.readers,
  })
  const ending = await findEnding(store.clickhouse, store.database)
  const feed = new TailFeed(ending.lastMicros, (count) => metrics.tailDropped.inc(count))
  const writer = openWriter(config, logger, store, ending.lastMicros, metrics, feed)
  lifecycle.add('writer', () => writer.close(COMMIT_GRACE_MS))
  const ingest = openIngest(
    config,
    logger,
    writer,
    metrics,
    new Streams(store.clickhouse, store.database, ending.orphans),
  )
  const query = await openQuery(config, store, feed)
  const grpc = await startGrpcServer({
    listen: config.listen,
    logger,
    maxMessageBytes: config.ingest.max_batch_bytes + MESSAGE_ROOM_BYTES,
    windowBytes: WINDOW_BYTES,
    services: [IngestServiceDefinition.fullName, QueryServiceDefinition.fullName],
    register: (server) => {
      server.add(IngestServiceDefinition, ingest)
      server.add(QueryServiceDefinition, query)
    },
  })
  lifecycle.add('grpc', async () => {
    ingest.drain()
    await Promise.race([allLeft(ingest), sleep(DRAIN_MS, undefined, { ref: false })])
    await grpc.stop(DRAIN_MS)
  })
  const admin = await openAdmin(config, logger, store, writer, metrics)
  lifecycle.add('admin', () => admin.stop())
  grpc.setServing(true)
  return {
    listen: grpc.address,
    admin: admin.address,
    registry: metrics.registry,
    store,
    stop: () => lifecycle.stop(),
  }
}

function openWriter(
  config: PulseConfig,
  log: Logger,
  store: EventStore,
  afterMicros: bigint,
  metrics: Metrics,
  feed: TailFeed,
): BlockWriter {
  return new BlockWriter({
    clickhouse: store.clickhouse,
    database: store.database,
    maxBlockRows: config.ingest.max_block_rows,
    maxBlockBytes: config.ingest.max_block_bytes,
    maxBlockAgeMs: config.ingest.max_block_age_ms,
    afterMicros,
    log,
    onBlock: (block, durationMs) => {
      metrics.blockRows.observe(block.rowCount)
      metrics.commitSeconds.observe(durationMs / 1000)
      feed.publish(block)
    },
    onRetry: (error) => metrics.commitRetries.inc({ code: String(error.code ?? 0) }),
  })
}

function openIngest(
  config: PulseConfig,
  log: Logger,
  writer: BlockWriter,
  metrics: Metrics,
  streams: Streams,
): IngestService {
  const limits = config.ingest
  const intake = new BatchIntake({
    org: config.org,
    streams,
    writer,
    deadLetters: new DeadLetters(join(config.data_dir, 'dead-letters')),
    maxBatchBytes: limits.max_batch_bytes,
    maxInflatedBytes: limits.max_inflated_bytes,
    log,
    onBatch: (outcome, encoded) => {
      metrics.batches.inc({ outcome })
      if (encoded === undefined) return
      metrics.eventsAccepted.inc(encoded.accepted)
      metrics.eventsRejected.inc(encoded.events - encoded.accepted)
    },
  })
  return new IngestService({
    streams,
    intake,
    maxBatchBytes: limits.max_batch_bytes,
    maxInflightBatches: limits.max_inflight_batches,
    flushIntervalMs: limits.max_block_age_ms,
    log,
  })
}

async function openQuery(config: PulseConfig, store: EventStore, feed: TailFeed): Promise<QueryService> {
  const { clickhouse, database } = store
  const { org } = config
  const tokens = await openTokenSigner(config.data_dir)
  const tail = new Tail({ clickhouse, database, org, tokens, feed })
  return new QueryService({ clickhouse, database, org, tokens, tail })
}

async function openAdmin(
  config: PulseConfig,
  logger: Logger,
  store: EventStore,
  writer: BlockWriter,
  metrics: Metrics,
): Promise<AdminServer> {
  return await startAdminServer({
    listen: config.admin.listen,
    registry: metrics.registry,
    logger,
    notReady: () => {
      if (store.engine !== undefined && store.engine.address() === undefined)
        return 'the embedded engine is down'
      const since = writer.failingSinceMs
      if (since === undefined || Date.now() - since < UNREADY_AFTER_MS) return undefined
      return `commits have failed for ${Math.round((Date.now() - since) / 1000)} s`
    },
  })
}

async function allLeft(ingest: IngestService): Promise<void> {
  while (ingest.openStreams > 0) await sleep(20)
}
