/** One agent's Sync stream: reads what it says, keeps the store current, offers revisions. */
import { Status } from 'nice-grpc'
import { uuidv7 } from 'uuidv7'
import { rpcError } from '../../../common/grpc-error.js'
import type { Logger } from '../../../common/log.js'
import { Outbox } from '../../../common/outbox.js'
import type {
  ConfigStatus,
  Heartbeat,
  Hello,
  SyncRequest,
  SyncResponse,
} from '../../../gen/cleartap/controlplane/v1/config.js'
import { type Agent, isFailure } from '../store/agents.js'
import type { AttemptOutcome, DocumentError } from '../store/attempts.js'
import { agentResource, type Revision } from '../store/revisions.js'
import type { ControlStore } from '../store/store.js'
import {
  InvalidMessageError,
  parseErrors,
  parseHeartbeat,
  parseHello,
  parseRef,
  parseResult,
  parseVerdict,
  toPush,
} from './agent-messages.js'
import { Offers } from './offers.js'

/** A push, a request for the full state, a welcome and a drain can wait at one time: never more. */
const maxQueuedResponses = 8

/** Heartbeats that may be missed before the session counts as dead. */
const heartbeatsMissed = 3

export interface SessionOptions {
  readonly heartbeatIntervalMs: number
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
}

export interface SessionContext {
  readonly store: ControlStore
  readonly options: SessionOptions
  readonly log: Logger
  readonly latest: () => Revision | undefined
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  /** Told of every offer and answer. */
  readonly onOutcome: (outcome: AttemptOutcome) => void
}

type SyncResponseMessage = NonNullable<SyncResponse['message']>

export class SyncSession {
  readonly sessionId: string
  readonly agentId: string
  readonly responses = new Outbox<SyncResponse>(maxQueuedResponses)
  readonly #context: SessionContext
  readonly #offers: Offers
  #expectedSequence: bigint
  #sentSequence = 0n
  #fullStateAsked = false
  #notedRunningVersion = -1
  #silence: NodeJS.Timeout | undefined
  #turn: Promise<void> = Promise.resolve()

  private constructor(context: SessionContext, sessionId: string, agent: Agent, firstSequence: bigint) {
    this.#context = context
    this.sessionId = sessionId
    this.agentId = agent.id
    this.#offers = new Offers({ running: agent.running, refused: refusedVersions(agent) })
    this.#expectedSequence = firstSequence + 1n
  }

  /** Registers the agent and queues the welcome. */
  static async open(context: SessionContext, hello: Hello, sequence: bigint): Promise<SyncSession> {
    const parsed = parseHello(hello, context.now())
    const sessionId = uuidv7()
    const agent = await context.store.agents.connect(parsed, sessionId)
    const session = new SyncSession(context, sessionId, agent, sequence)
    session.#welcome()
    session.#watchSilence()
    return session
  }

  /** Takes the agent's next message. @throws ServerError or InvalidMessageError, which end the stream. */
  async receive(request: SyncRequest): Promise<void> {
    this.#watchSilence()
    await this.#inTurn(() => this.#take(request))
  }

  /** To be called when there may be something new to offer. */
  async reconsider(): Promise<void> {
    await this.#inTurn(() => this.#offer())
  }

  /** Offers a version again that the agent refused. */
  async retry(version: number): Promise<void> {
    this.#offers.allow(version)
    await this.reconsider()
  }

  /** Asks the agent to come back later and ends the stream. */
  drain(reconnectAfterMs: number): void {
    this.#send({ $case: 'drain', value: { reconnectAfter: toDuration(reconnectAfterMs) } })
    this.responses.end()
  }

  /** Ends the stream because the agent has opened another. */
  supersede(): void {
    this.responses.fail(rpcError(Status.ABORTED, 'SUPERSEDED', 'the agent has opened another session'))
  }

  /** Marks the agent as gone, unless another session has it. */
  async close(): Promise<void> {
    clearTimeout(this.#silence)
    this.responses.end()
    await this.#inTurn(() => this.#context.store.agents.disconnect(this.agentId, this.sessionId))
  }

  async #take(request: SyncRequest): Promise<void> {
    const hole = request.sequence !== this.#expectedSequence
    this.#expectedSequence = request.sequence + 1n
    const message = request.message
    if (hole && message?.$case !== 'hello') this.#askFullState()
    switch (message?.$case) {
      case 'hello':
        return this.#takeFullState(message.value)
      case 'heartbeat':
        return this.#takeHeartbeat(message.value)
      case 'status':
        return this.#takeStatus(message.value)
      case undefined:
        throw new InvalidMessageError('message', 'a request holds hello, heartbeat or status; got none')
    }
  }

  async #takeFullState(hello: Hello): Promise<void> {
    const parsed = parseHello(hello, this.#context.now())
    if (parsed.id !== this.agentId) {
      throw new InvalidMessageError('hello.agentId', `the stream is of ${this.agentId}; got ${parsed.id}`)
    }
    const agent = await this.#context.store.agents.connect(parsed, this.sessionId)
    this.#fullStateAsked = false
    this.#offers.setRunning(agent.running)
    await this.#offer()
  }

  async #takeHeartbeat(heartbeat: Heartbeat): Promise<void> {
    const parsed = parseHeartbeat(heartbeat)
    await this.#context.store.agents.heartbeat(this.agentId, this.sessionId, parsed)
    if (parsed.running === undefined) return
    this.#offers.setRunning(parsed.running)
    await this.#offer()
  }

  async #takeStatus(status: ConfigStatus): Promise<void> {
    const verdict = parseVerdict(status)
    if (verdict === 'under_way') return
    const refused = verdict === 'refused'
    const offer = this.#offers.answer(status.nonce, refused)
    const errors = parseErrors(status.errors)
    if (offer === undefined) {
      const version = parseRef(status.config, 'status.config')?.version ?? 0
      return this.#record(version, status.nonce.slice(0, 64), 'stale', errors)
    }
    const result = parseResult(status, offer, refused, this.#context.now())
    if (result.running !== undefined) this.#offers.setRunning(result.running)
    await this.#context.store.agents.recordResult(this.agentId, result)
    await this.#record(offer.revision.version, offer.nonce, refused ? 'rejected' : 'applied', errors)
    await this.#offer()
  }

  async #offer(): Promise<void> {
    if (this.#fullStateAsked) return
    const desired = this.#context.latest()
    const decision = this.#offers.decide(desired)
    if (desired === undefined) return
    if (decision === 'running') return this.#noteRunning(desired)
    if (decision === 'ahead') {
      this.#context.log.warn(
        { agent: this.agentId, latest: desired.version },
        'the agent runs a version above the latest here: a new revision is needed to reach it',
      )
    }
    if (decision !== 'offer') return
    const offer = this.#offers.begin(desired, uuidv7())
    await this.#record(desired.version, offer.nonce, 'pushed', [])
    this.#send({ $case: 'push', value: toPush(offer) })
  }

  /** Once a version: history shows that nothing was left to do. */
  async #noteRunning(desired: Revision): Promise<void> {
    if (this.#notedRunningVersion === desired.version) return
    this.#notedRunningVersion = desired.version
    await this.#record(desired.version, '', 'nothing_to_do', [])
  }

  #record(
    version: number,
    nonce: string,
    outcome: AttemptOutcome,
    errors: readonly DocumentError[],
  ): Promise<void> {
    this.#context.onOutcome(outcome)
    const attempt = { agentId: this.agentId, resource: agentResource, version, nonce, outcome, errors }
    return this.#context.store.attempts.record(attempt)
  }

  #welcome(): void {
    const { heartbeatIntervalMs, reconnectMinMs, reconnectMaxMs } = this.#context.options
    const desired = this.#context.latest()
    const value = {
      heartbeatInterval: toDuration(heartbeatIntervalMs),
      reconnectMin: toDuration(reconnectMinMs),
      reconnectMax: toDuration(reconnectMaxMs),
      sessionId: this.sessionId,
      serverTimeUnixNano: BigInt(this.#context.now()) * 1_000_000n,
      desired: desired && {
        resource: desired.resource,
        version: BigInt(desired.version),
        sha256: Buffer.from(desired.sha256, 'hex'),
      },
    }
    this.#send({ $case: 'welcome', value })
  }

  #askFullState(): void {
    if (this.#fullStateAsked) return
    this.#fullStateAsked = true
    this.#send({ $case: 'reportFullState', value: {} })
  }

  #send(message: SyncResponseMessage): void {
    this.#sentSequence += 1n
    if (!this.responses.push({ sequence: this.#sentSequence, message })) {
      this.responses.fail(
        rpcError(Status.RESOURCE_EXHAUSTED, 'NOT_READING', 'the agent does not read its stream'),
      )
    }
  }

  #watchSilence(): void {
    clearTimeout(this.#silence)
    const limitMs = this.#context.options.heartbeatIntervalMs * heartbeatsMissed
    this.#silence = setTimeout(() => {
      this.responses.fail(rpcError(Status.DEADLINE_EXCEEDED, 'SILENT', `no message for ${limitMs} ms`))
    }, limitMs)
  }

  /** One thing at a time: messages and new revisions do not overtake one another. */
  #inTurn(task: () => Promise<void>): Promise<void> {
    const result = this.#turn.then(task)
    this.#turn = result.catch(() => undefined)
    return result
  }
}

/** Versions that the agent refused, by the store's memory or its own word, unless a retry was asked for. */
function refusedVersions(agent: Agent): number[] {
  const refused = [agent.rejectedVersion]
  if (agent.lastAttempt !== undefined && isFailure(agent.lastAttempt)) refused.push(agent.lastAttempt.version)
  return refused.filter((version) => version !== 0 && version !== agent.retryVersion)
}

/** Milliseconds as google.protobuf.Duration. */
function toDuration(ms: number): { seconds: bigint; nanos: number } {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: Math.round((ms % 1000) * 1_000_000) }
}
