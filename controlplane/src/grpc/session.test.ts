import assert from 'node:assert/strict'
import fc from 'fast-check'
import { uuidv7obj } from 'uuidv7'
import { createLogger } from '../../../common/log.js'
import {
  type ConfigPush,
  ConfigState,
  Hello,
  type SyncRequest,
  type SyncResponse,
} from '../../../gen/cleartap/controlplane/v1/config.js'
import { withDirectory } from '../control-plane.fixture.js'
import { type ControlStore, openControlStore } from '../store/store.js'
import type { SyncSession } from './session.js'
import { Sessions } from './sessions.js'

/** What can happen to a session, in any order. */
type Step =
  | { readonly kind: 'publish' }
  | { readonly kind: 'apply' }
  | { readonly kind: 'reject' }
  | { readonly kind: 'stale_answer' }
  | { readonly kind: 'answer_twice' }
  | { readonly kind: 'heartbeat' }
  | { readonly kind: 'hole' }
  | { readonly kind: 'full_state' }
  | { readonly kind: 'reconnect' }
  | { readonly kind: 'restart_server' }
  | { readonly kind: 'retry' }
  | { readonly kind: 'run_ahead' }

const steps = fc.constantFrom<Step>(
  { kind: 'publish' },
  { kind: 'publish' },
  { kind: 'apply' },
  { kind: 'apply' },
  { kind: 'reject' },
  { kind: 'stale_answer' },
  { kind: 'answer_twice' },
  { kind: 'heartbeat' },
  { kind: 'hole' },
  { kind: 'full_state' },
  { kind: 'reconnect' },
  { kind: 'restart_server' },
  { kind: 'retry' },
  { kind: 'run_ahead' },
)

/** Orders that chance seldom finds. */
const rareScripts: readonly Step[][] = [
  [{ kind: 'publish' }, { kind: 'reject' }, { kind: 'retry' }, { kind: 'reconnect' }],
  [{ kind: 'publish' }, { kind: 'reject' }, { kind: 'reconnect' }, { kind: 'heartbeat' }],
  [{ kind: 'publish' }, { kind: 'apply' }, { kind: 'publish' }, { kind: 'answer_twice' }],
  [{ kind: 'hole' }, { kind: 'publish' }, { kind: 'heartbeat' }, { kind: 'hole' }],
]

/** A well-behaved agent and everything it must be able to rely on. */
class Model {
  readonly #dataDir: string
  readonly #agentId = Buffer.from(uuidv7obj().bytes)
  readonly #nonces = new Set<string>()
  readonly #rejected = new Set<number>()
  #store: ControlStore
  #sessions: Sessions
  #session: SyncSession | undefined
  #sequence = 0n
  #latest = 0
  #lastNonce = 'none'
  #waiting: ConfigPush | undefined
  #running: { version: bigint; sha256: Buffer } = { version: 0n, sha256: Buffer.alloc(0) }
  #lastRejected: ConfigPush['config']
  #owesFullState = false
  #ranAhead = false

  private constructor(dataDir: string, store: ControlStore, sessions: Sessions) {
    this.#dataDir = dataDir
    this.#store = store
    this.#sessions = sessions
  }

  static async start(dataDir: string): Promise<Model> {
    const store = await openControlStore(dataDir)
    const model = new Model(dataDir, store, await createSessions(store))
    await model.#connect()
    return model
  }

  async stop(): Promise<void> {
    await this.#disconnect()
    await this.#store.close()
  }

  async run(step: Step): Promise<void> {
    switch (step.kind) {
      case 'publish':
        return this.#publish()
      case 'apply':
        return this.#answer(false)
      case 'reject':
        return this.#answer(true)
      case 'stale_answer':
        return this.#send(statusMessage('0190-unknown', this.#waiting?.config, false, this.#ref()))
      case 'answer_twice':
        return this.#send(statusMessage(this.#lastNonce, this.#waiting?.config, true, this.#ref()))
      case 'heartbeat':
        return this.#send(heartbeatMessage(this.#ref()))
      case 'hole':
        this.#sequence += 1n
        await this.#send(heartbeatMessage(this.#ref()))
        return
      case 'full_state':
        return this.#send({ $case: 'hello', value: this.#hello() })
      case 'reconnect':
        await this.#disconnect()
        return this.#connect()
      case 'restart_server':
        return this.#restartServer()
      case 'retry':
        return this.#retry()
      case 'run_ahead':
        return this.#runAhead()
    }
  }

  /** Everything is answered with success: the agent must end at the latest version that it did not reject. */
  async settle(): Promise<void> {
    if (this.#owesFullState) await this.run({ kind: 'full_state' })
    for (let turn = 0; this.#waiting !== undefined; turn += 1) {
      assert.ok(turn < 3, 'pushes never end')
      await this.#answer(false)
    }
    const running = Number(this.#running.version)
    if (this.#rejected.has(this.#latest)) assert.notEqual(running, this.#latest)
    else if (this.#ranAhead) assert.ok(running >= this.#latest)
    else assert.equal(running, this.#latest)
  }

  async #publish(): Promise<void> {
    const content = `capture: {max_body_bytes: ${this.#latest + 1}}\n`
    const outcome = await this.#store.revisions.add({ content, author: 'test', note: '' })
    assert.equal(outcome.kind, 'added')
    assert.ok(outcome.kind === 'added' && outcome.revision.version > this.#latest)
    assert.ok(BigInt(outcome.revision.version) > this.#running.version, 'the agent could not take it')
    this.#latest = outcome.revision.version
    await this.#sessions.publish(outcome.revision)
    this.#read()
  }

  async #answer(rejects: boolean): Promise<void> {
    const push = this.#waiting
    if (push?.config === undefined) return
    this.#waiting = undefined
    this.#lastNonce = push.nonce
    if (rejects) {
      this.#rejected.add(Number(push.config.version))
      this.#lastRejected = push.config
    } else {
      this.#running = { version: push.config.version, sha256: push.config.sha256 }
    }
    await this.#send(statusMessage(push.nonce, push.config, rejects, this.#ref()))
  }

  async #retry(): Promise<void> {
    const id = this.#session?.agentId ?? ''
    assert.ok(await this.#store.agents.requestRetry(id, this.#latest))
    this.#rejected.delete(this.#latest)
    await this.#sessions.retry(id)
    this.#read()
  }

  /** As after a lost database: the agent runs a version that the server has never made. */
  async #runAhead(): Promise<void> {
    this.#running = { version: BigInt(this.#latest) + 2n, sha256: Buffer.alloc(32, 7) }
    this.#ranAhead = true
    await this.#send(heartbeatMessage(this.#ref()))
  }

  async #restartServer(): Promise<void> {
    await this.#disconnect()
    await this.#store.close()
    this.#store = await openControlStore(this.#dataDir)
    this.#sessions = await createSessions(this.#store)
    await this.#connect()
  }

  async #connect(): Promise<void> {
    this.#sequence = 1n
    this.#owesFullState = false
    this.#waiting = undefined
    this.#session = await this.#sessions.open(this.#hello(), 1n)
    this.#read()
  }

  async #disconnect(): Promise<void> {
    if (this.#session !== undefined) await this.#sessions.close(this.#session)
  }

  async #send(message: NonNullable<SyncRequest['message']>): Promise<void> {
    this.#sequence += 1n
    if (message.$case === 'hello') this.#owesFullState = false
    await this.#session?.receive({ sequence: this.#sequence, message })
    this.#read()
  }

  /** Takes what the server has queued and checks it. */
  #read(): void {
    for (const { message } of this.#session?.responses.takeQueued() ?? []) this.#check(message)
  }

  #check(message: SyncResponse['message']): void {
    switch (message?.$case) {
      case 'push':
        this.#checkPush(message.value)
        return
      case 'reportFullState':
        assert.equal(this.#owesFullState, false, 'asked twice for the full state')
        this.#owesFullState = true
        return
      case 'welcome':
        assert.equal(Number(message.value.desired?.version ?? 0n), this.#latest)
        return
      default:
        assert.fail(`unexpected ${message?.$case}`)
    }
  }

  #checkPush(push: ConfigPush): void {
    const version = Number(push.config?.version)
    assert.equal(this.#waiting, undefined, 'a second push before the first was answered')
    assert.equal(this.#owesFullState, false, 'a push to an agent whose state is unknown')
    assert.equal(this.#nonces.has(push.nonce), false, 'a nonce came twice')
    assert.equal(version, this.#latest, 'not the latest at the time of sending')
    assert.ok(version > Number(this.#running.version), 'a version that does not rise')
    assert.equal(this.#rejected.has(version), false, 'a rejected version was offered again')
    this.#nonces.add(push.nonce)
    this.#waiting = push
  }

  #ref() {
    return { resource: 'agent', ...this.#running }
  }

  #hello(): Hello {
    const lastAttempt = this.#lastRejected && {
      config: this.#lastRejected,
      state: ConfigState.CONFIG_STATE_REJECTED,
      tries: 1,
    }
    return Hello.fromPartial({ agentId: this.#agentId, running: this.#ref(), lastAttempt })
  }
}

function createSessions(store: ControlStore): Promise<Sessions> {
  return Sessions.create({
    store,
    log: createLogger('test', { level: 'error', format: 'json' }),
    now: Date.now,
    onOutcome: () => undefined,
    options: { heartbeatIntervalMs: 60_000, reconnectMinMs: 1000, reconnectMaxMs: 1000 },
  })
}

function heartbeatMessage(running: ConfigPush['config']): NonNullable<SyncRequest['message']> {
  const value = { timeUnixNano: 0n, running, health: 1, capture: undefined, ingest: undefined } as const
  return { $case: 'heartbeat', value }
}

function statusMessage(
  nonce: string,
  config: ConfigPush['config'],
  rejects: boolean,
  running: ConfigPush['config'],
): NonNullable<SyncRequest['message']> {
  const error = { resource: 'agent', path: '', code: 'TEST', message: 'no', line: 1, column: 2 }
  const state = rejects ? ConfigState.CONFIG_STATE_REJECTED : ConfigState.CONFIG_STATE_APPLIED
  const errors = rejects ? [error] : []
  return { $case: 'status', value: { nonce, config, state, errors, running, lastKnownGood: running } }
}

describe('a sync session', () => {
  it('keeps its promises in any order of pushes, answers, holes, reconnects and restarts', async function () {
    this.timeout(60_000)
    const property = fc.asyncProperty(fc.array(steps, { maxLength: 40, size: 'max' }), (script) =>
      withDirectory(async (directory) => {
        const model = await Model.start(directory)
        try {
          for (const step of script) await model.run(step)
          await model.settle()
        } finally {
          await model.stop()
        }
      }),
    )
    await fc.assert(property, { numRuns: 100, examples: rareScripts.map((script) => [script]) })
  })
})
