/** Keeps the agent in step with the control plane: reports what runs, applies what is pushed. */
import type { Channel } from 'nice-grpc'
import { connect, createRpcClient } from '../../common/grpc-client.js'
import type { Logger } from '../../common/log.js'
import { Outbox } from '../../common/outbox.js'
import { describe, SpanKind, spanned } from '../../common/tracing.js'
import {
  type CaptureStats,
  type ConfigPush,
  type ConfigRef,
  ConfigServiceDefinition,
  ConfigState,
  type HealthState,
  type Hello,
  type IngestStats,
  type SyncRequest,
  type SyncResponse,
  type Welcome,
} from '../../gen/cleartap/controlplane/v1/config.js'
import type { Duration } from '../../gen/google/protobuf/duration.js'
import {
  type ApplyCapture,
  agentResource,
  ConfigRevisions,
  type RunningRevision,
} from './config-revisions.js'
import { ConfigStore, type StoredAttempt } from './config-store.js'

/** Messages that may wait for the network: heartbeats beyond it end the session. */
const maxQueuedRequests = 16
/** How long the control plane may take to answer the hello. */
const welcomeTimeoutMs = 10_000
/** Until the control plane has said its own. */
const firstReconnectMinMs = 500
const firstReconnectMaxMs = 30_000
/** What the control plane may ask for: less would make the agent busy, more would lose it. */
const leastDelayMs = 10
const longestDelayMs = 60 * 60 * 1000
/** Share of the interval by which heartbeats are spread. */
const heartbeatJitter = 0.1

export interface AgentDescription {
  /** UUIDv7, 16 bytes. */
  readonly agentId: Uint8Array
  readonly bootId: string
  readonly version: string
  readonly host: string
  /** Kernel release. */
  readonly kernel: string
  readonly architecture: string
  readonly labels: Readonly<Record<string, string>>
}

export interface AgentReport {
  readonly health: HealthState
  readonly capture: CaptureStats
  readonly ingest: IngestStats
}

export interface ConfigClientOptions {
  /** HOST:PORT of the control plane. */
  readonly address: string
  readonly dataDir: string
  readonly agent: AgentDescription
  readonly apply: ApplyCapture
  /** Asked for each heartbeat. */
  readonly report: () => AgentReport
  readonly logger: Logger
}

interface Session {
  readonly requests: Outbox<SyncRequest>
  readonly abort: AbortController
  sequence: bigint
  heartbeat: NodeJS.Timeout | undefined
}

export class ConfigClient {
  readonly #options: ConfigClientOptions
  readonly #revisions: ConfigRevisions
  readonly #channel: Channel
  readonly #stopping = new AbortController()
  #reconnectMinMs = firstReconnectMinMs
  #reconnectMaxMs = firstReconnectMaxMs
  #connected = false
  #ended: Promise<void> = Promise.resolve()

  private constructor(options: ConfigClientOptions, revisions: ConfigRevisions) {
    this.#options = options
    this.#revisions = revisions
    this.#channel = connect(options.address)
  }

  /**
   * Puts the last good revision into force, then connects and stays connected. Resolves before the control
   * plane has answered: the agent runs without it.
   */
  static async start(options: ConfigClientOptions): Promise<ConfigClient> {
    const store = await ConfigStore.open(options.dataDir, options.logger)
    const revisions = new ConfigRevisions(store, options.apply, options.logger)
    await revisions.restore()
    const client = new ConfigClient(options, revisions)
    client.#ended = client.#run()
    return client
  }

  get running(): RunningRevision {
    return this.#revisions.running
  }

  /** Whether the control plane has welcomed the agent in the present stream. */
  get connected(): boolean {
    return this.#connected
  }

  /** Waits for a revision that is being applied, then disconnects. */
  async close(): Promise<void> {
    this.#stopping.abort()
    await this.#ended
    this.#channel.close()
  }

  async #run(): Promise<void> {
    let failures = 0
    while (!this.#stopping.signal.aborted) {
      const outcome = await this.#runSession()
      this.#connected = false
      failures = outcome.welcomed ? 0 : failures + 1
      await sleep(this.#reconnectDelayMs(failures) + outcome.drainMs, this.#stopping.signal)
    }
  }

  /** Full jitter up to a bound that doubles with each failure, within what the control plane asked for. */
  #reconnectDelayMs(failures: number): number {
    const minMs = this.#reconnectMinMs
    const ceilingMs = Math.min(this.#reconnectMaxMs, minMs * 2 ** Math.min(failures + 1, 20))
    return minMs + Math.max(0, ceilingMs - minMs) * Math.random()
  }

  async #runSession(): Promise<{ readonly welcomed: boolean; readonly drainMs: number }> {
    const session: Session = {
      requests: new Outbox(maxQueuedRequests),
      abort: new AbortController(),
      sequence: 0n,
      heartbeat: undefined,
    }
    const signal = AbortSignal.any([session.abort.signal, this.#stopping.signal])
    const timer = setTimeout(() => session.abort.abort(), welcomeTimeoutMs)
    let welcomed = false
    let drainMs = 0
    try {
      this.#send(session, { $case: 'hello', value: this.#hello() })
      const client = createRpcClient(ConfigServiceDefinition, this.#channel)
      for await (const response of client.sync(session.requests, { signal })) {
        if (response.message?.$case === 'welcome') {
          clearTimeout(timer)
          welcomed = true
        }
        if (response.message?.$case === 'drain') {
          drainMs = delayMs(response.message.value.reconnectAfter, 0)
          break
        }
        await this.#take(session, response)
      }
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#logLoss(error, welcomed)
    } finally {
      clearTimeout(timer)
      clearTimeout(session.heartbeat)
      session.requests.end()
    }
    return { welcomed, drainMs }
  }

  #logLoss(error: unknown, welcomed: boolean): void {
    const { address, logger } = this.#options
    const reason = error instanceof Error ? error.message : String(error)
    if (welcomed) logger.warn({ address, reason }, 'lost the control plane')
    else logger.warn({ address, reason }, 'cannot reach the control plane: going on with what runs')
  }

  async #take(session: Session, response: SyncResponse): Promise<void> {
    const message = response.message
    switch (message?.$case) {
      case 'welcome':
        this.#welcome(session, message.value)
        return
      case 'push':
        await this.#takePush(session, message.value)
        return
      case 'reportFullState':
        this.#send(session, { $case: 'hello', value: this.#hello() })
        return
      case 'drain':
      case undefined:
        return
    }
  }

  #welcome(session: Session, welcome: Welcome): void {
    this.#connected = true
    this.#reconnectMinMs = delayMs(welcome.reconnectMin, firstReconnectMinMs)
    this.#reconnectMaxMs = delayMs(welcome.reconnectMax, firstReconnectMaxMs)
    const { address, logger } = this.#options
    logger.info({ address, session: welcome.sessionId }, 'connected to the control plane')
    const { heartbeatInterval } = welcome
    if (heartbeatInterval !== undefined) this.#scheduleHeartbeat(session, delayMs(heartbeatInterval, 0))
  }

  #scheduleHeartbeat(session: Session, intervalMs: number): void {
    const spread = 1 + heartbeatJitter * (2 * Math.random() - 1)
    session.heartbeat = setTimeout(() => {
      this.#sendHeartbeat(session)
      this.#scheduleHeartbeat(session, intervalMs)
    }, intervalMs * spread)
  }

  #sendHeartbeat(session: Session): void {
    const { health, capture, ingest } = this.#options.report()
    const value = {
      timeUnixNano: BigInt(Date.now()) * 1_000_000n,
      running: toRef(this.#revisions.running),
      health,
      capture,
      ingest,
    }
    this.#send(session, { $case: 'heartbeat', value })
  }

  async #takePush(session: Session, push: ConfigPush): Promise<void> {
    const facts = { 'cleartap.config_version': Number(push.config?.version ?? 0n) }
    const outcome = await spanned('agent config push', { kind: SpanKind.CONSUMER, facts }, async (span) => {
      const taken = await this.#revisions.take(push)
      describe(span, { 'cleartap.outcome': taken.kind, 'cleartap.bytes': push.content.length })
      return taken
    })
    const isApplied = outcome.kind === 'applied'
    const value = {
      nonce: push.nonce,
      config: push.config,
      state: isApplied ? ConfigState.CONFIG_STATE_APPLIED : ConfigState.CONFIG_STATE_REJECTED,
      errors: isApplied ? [] : [...outcome.errors],
      running: toRef(this.#revisions.running),
      lastKnownGood: toRef(this.#revisions.lastGood),
    }
    this.#send(session, { $case: 'status', value })
  }

  #hello(): Hello {
    const { agentId, bootId, version, host, kernel, architecture, labels } = this.#options.agent
    return {
      agentId: Buffer.from(agentId),
      bootId,
      version,
      platform: { host, kernel, architecture },
      labels: { ...labels },
      running: toRef(this.#revisions.running),
      lastKnownGood: toRef(this.#revisions.lastGood),
      lastAttempt: this.#revisions.lastAttempt && toAttempt(this.#revisions.lastAttempt),
    }
  }

  /** A full queue means that nothing gets through: the session ends, and a new one begins with the full state. */
  #send(session: Session, message: NonNullable<SyncRequest['message']>): void {
    session.sequence += 1n
    if (!session.requests.push({ sequence: session.sequence, message })) session.abort.abort()
  }
}

function toRef({ version, sha256 }: RunningRevision): ConfigRef {
  return { resource: agentResource, version, sha256: Buffer.from(sha256, 'hex') }
}

function toAttempt(attempt: StoredAttempt) {
  const { version, sha256, error, atMs, tries } = attempt
  return {
    config: toRef({ version: BigInt(version), sha256 }),
    state: attemptStates[attempt.state],
    error: error === '' ? undefined : { code: 3, message: error, details: [] },
    at: { seconds: BigInt(Math.floor(atMs / 1000)), nanos: Math.floor(atMs % 1000) * 1_000_000 },
    tries,
  }
}

const attemptStates: Readonly<Record<StoredAttempt['state'], ConfigState>> = {
  applying: ConfigState.CONFIG_STATE_APPLYING,
  applied: ConfigState.CONFIG_STATE_APPLIED,
  rejected: ConfigState.CONFIG_STATE_REJECTED,
}

/** Milliseconds within what the agent accepts. */
function delayMs(duration: Duration | undefined, absentMs: number): number {
  if (duration === undefined) return absentMs
  const ms = Number(duration.seconds) * 1000 + duration.nanos / 1e6
  return Math.min(longestDelayMs, Math.max(leastDelayMs, ms))
}

/** Resolves after the time, or when the signal aborts. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
