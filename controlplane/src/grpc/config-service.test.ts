import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { ClientError, Status } from 'nice-grpc'
import { uuidv7obj } from 'uuidv7'
import { connect, createRpcClient } from '../../../common/grpc-client.js'
import { detailsOf } from '../../../common/grpc-error.js'
import { Outbox } from '../../../common/outbox.js'
import {
  type ConfigPush,
  ConfigServiceDefinition,
  ConfigState,
  type Drain,
  Hello,
  type ReportFullState,
  type SyncRequest,
  type SyncResponse,
  type Welcome,
} from '../../../gen/cleartap/controlplane/v1/config.js'
import { HealthDefinition } from '../../../gen/grpc/health/v1/health.js'
import { startForTest, withDirectory } from '../control-plane.fixture.js'
import type { ControlPlane } from '../control-plane.js'

type SyncRequestMessage = NonNullable<SyncRequest['message']>

interface ResponseValues {
  readonly welcome: Welcome
  readonly push: ConfigPush
  readonly reportFullState: ReportFullState
  readonly drain: Drain
}

/** An agent's end of a Sync stream over a real connection, moved by hand. */
class Stream {
  readonly #requests = new Outbox<SyncRequest>(100)
  readonly #channel
  readonly #responses: AsyncIterator<SyncResponse>
  #sequence = 0n

  constructor(address: string) {
    this.#channel = connect(address)
    const client = createRpcClient(ConfigServiceDefinition, this.#channel)
    this.#responses = client.sync(this.#requests)[Symbol.asyncIterator]()
  }

  send(message: SyncRequestMessage, skipped = 0n): void {
    this.#sequence += 1n + skipped
    this.#requests.push({ sequence: this.#sequence, message })
  }

  /** The next message, which must be of the kind. */
  async next<Kind extends keyof ResponseValues>(kind: Kind): Promise<ResponseValues[Kind]> {
    const next = await this.#responses.next()
    assert.ok(next.done !== true, `the stream ended; expected ${kind}`)
    const { message } = next.value
    assert.equal(message?.$case, kind)
    return message?.value as ResponseValues[Kind]
  }

  /** Ends with the error or undefined. */
  async end(): Promise<unknown> {
    try {
      assert.equal((await this.#responses.next()).done, true)
      return undefined
    } catch (error) {
      return error
    }
  }

  close(): void {
    this.#requests.end()
    this.#channel.close()
  }
}

const agentId = Buffer.from(uuidv7obj().bytes)

function hello(running?: ConfigPush['config']): SyncRequestMessage {
  const platform = { host: 'box-1', kernel: '6.18.44', architecture: 'x64' }
  return { $case: 'hello', value: Hello.fromPartial({ agentId, version: '0.1.0', platform, running }) }
}

function heartbeat(): SyncRequestMessage {
  const value = {
    timeUnixNano: 0n,
    running: undefined,
    health: 1,
    capture: undefined,
    ingest: undefined,
  } as const
  return { $case: 'heartbeat', value }
}

function status(push: ConfigPush, message?: string): SyncRequestMessage {
  const errors =
    message === undefined
      ? []
      : [{ resource: 'agent', path: 'capture', code: 'X', message, line: 3, column: 7 }]
  const state = errors.length === 0 ? ConfigState.CONFIG_STATE_APPLIED : ConfigState.CONFIG_STATE_REJECTED
  const running = errors.length === 0 ? push.config : undefined
  return {
    $case: 'status',
    value: { nonce: push.nonce, config: push.config, state, errors, running, lastKnownGood: running },
  }
}

async function publish(controlPlane: ControlPlane, level: string): Promise<number> {
  const response = await fetch(`http://${controlPlane.httpAddress}/api/v1/revisions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ content: `capture: {level: ${level}}\n` }),
  })
  assert.equal(response.status, 201, await response.clone().text())
  return Object(await response.json()).version
}

async function readAgent(controlPlane: ControlPlane) {
  const list = await fetch(`http://${controlPlane.httpAddress}/api/v1/agents`)
  const { agents } = Object(await list.json())
  assert.equal(agents.length, 1)
  const one = await fetch(`http://${controlPlane.httpAddress}/api/v1/agents/${agents[0].id}`)
  return Object(await one.json())
}

async function untilAgent(controlPlane: ControlPlane, accepts: (agent: Record<string, unknown>) => boolean) {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const agent = await readAgent(controlPlane)
    if (accepts(agent)) return agent
    await sleep(10)
  }
  return assert.fail(`the agent never became so: ${JSON.stringify(await readAgent(controlPlane))}`)
}

/** A control plane with an agent that has been welcomed. */
async function withStream(
  settings: Readonly<Record<string, unknown>>,
  use: (stream: Stream, controlPlane: ControlPlane) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    const controlPlane = await startForTest(directory, settings)
    const stream = new Stream(controlPlane.address)
    try {
      stream.send(hello())
      await stream.next('welcome')
      await use(stream, controlPlane)
    } finally {
      stream.close()
      await controlPlane.stop()
    }
  })
}

function assertError(error: unknown, code: Status, reason: string): void {
  assert.ok(error instanceof ClientError, `expected a gRPC error; got ${error}`)
  assert.equal(Status[error.code], Status[code])
  assert.equal(detailsOf(error)?.reason, reason)
}

describe('ConfigService.Sync', () => {
  it('pushes a new revision at once and records that it was applied', async () => {
    await withStream({}, async (stream, controlPlane) => {
      const version = await publish(controlPlane, 'headers')
      const push = await stream.next('push')
      assert.equal(Number(push.config?.version), version)
      assert.equal(push.mediaType, 'application/yaml')
      assert.equal(push.content.toString(), 'capture: {level: headers}\n')
      assert.deepEqual(createHash('sha256').update(push.content).digest(), push.config?.sha256)
      stream.send(status(push))
      const agent = await untilAgent(controlPlane, ({ inSync }) => inSync === true)
      assert.equal(agent.host, 'box-1')
      assert.equal(agent.connected, true)
      assert.equal(agent.lastAttempt.state, 'applied')
      assert.deepEqual(
        agent.history.map(({ outcome }: { outcome: string }) => outcome),
        ['nothing_to_do', 'applied', 'pushed'],
      )
    })
  })

  it('sends only the latest once the pending push is answered', async () => {
    await withStream({}, async (stream, controlPlane) => {
      await publish(controlPlane, 'headers')
      const first = await stream.next('push')
      await publish(controlPlane, 'metadata')
      const latest = await publish(controlPlane, 'full')
      stream.send(status(first))
      const second = await stream.next('push')
      assert.equal(Number(second.config?.version), latest)
      assert.notEqual(second.nonce, first.nonce)
    })
  })

  it('shows why a revision was rejected and does not offer it again until a newer one or a retry', async () => {
    await withStream({}, async (stream, controlPlane) => {
      const version = await publish(controlPlane, 'headers')
      stream.send(status(await stream.next('push'), 'no such level here'))
      const agent = await untilAgent(controlPlane, ({ lastAttempt }) => lastAttempt !== undefined)
      assert.equal(agent.lastAttempt.state, 'rejected')
      assert.equal(agent.lastAttempt.error.message, 'no such level here')
      assert.deepEqual(agent.lastAttempt.error.errors[0], {
        path: 'capture',
        code: 'X',
        message: 'no such level here',
        line: 3,
        column: 7,
      })
      // Messages are answered in turn: a push would come before the answer to the hole.
      stream.send(hello())
      stream.send(heartbeat(), 1n)
      await stream.next('reportFullState')
      stream.send(hello())
      const { id } = await readAgent(controlPlane)
      const retry = await fetch(`http://${controlPlane.httpAddress}/api/v1/agents/${id}/retry`, {
        method: 'POST',
      })
      assert.equal(retry.status, 202)
      const again = await stream.next('push')
      assert.equal(Number(again.config?.version), version)
      stream.send(status(again, 'still not'))
      const newer = await publish(controlPlane, 'metadata')
      assert.equal(Number((await stream.next('push')).config?.version), newer)
    })
  })

  it('keeps an answer with an unknown nonce out of everything but the history', async () => {
    await withStream({}, async (stream, controlPlane) => {
      await publish(controlPlane, 'headers')
      const push = await stream.next('push')
      stream.send(status({ ...push, nonce: 'made-up' }, 'no'))
      const agent = await untilAgent(controlPlane, ({ history }) => Object(history).length === 2)
      assert.equal(agent.history[0].outcome, 'stale')
      assert.equal(agent.lastAttempt, undefined)
      stream.send(status(push))
      await untilAgent(controlPlane, ({ inSync }) => inSync === true)
    })
  })

  it('asks for the full state when a sequence number is missing', async () => {
    await withStream({}, async (stream) => {
      stream.send(heartbeat(), 4n)
      await stream.next('reportFullState')
    })
  })

  it('ends a session that is silent for three heartbeats and shows the agent as gone', async () => {
    await withStream({ heartbeat_interval_ms: 100 }, async (stream, controlPlane) => {
      const startMs = performance.now()
      assertError(await stream.end(), Status.DEADLINE_EXCEEDED, 'SILENT')
      assert.ok(performance.now() - startMs < 1500)
      await untilAgent(controlPlane, ({ connected }) => connected === false)
    })
  })

  it('takes heartbeats with counters', async () => {
    await withStream({}, async (stream, controlPlane) => {
      const capture = {
        exchanges: 7n,
        bytesCaptured: 2n ** 60n,
        bytesLost: 1n,
        recordsLost: 0n,
        processes: 2,
        probes: 9,
      }
      const value = { timeUnixNano: 0n, running: undefined, health: 2, capture, ingest: undefined } as const
      stream.send({ $case: 'heartbeat', value })
      const agent = await untilAgent(controlPlane, ({ health }) => health === 'degraded')
      assert.equal(agent.stats.capture.bytesCaptured, String(2n ** 60n))
      assert.equal(agent.stats.capture.probes, 9)
    })
  })

  it('ends the older of two sessions of one agent', async () => {
    await withStream({}, async (stream, controlPlane) => {
      const newer = new Stream(controlPlane.address)
      newer.send(hello())
      await newer.next('welcome')
      assertError(await stream.end(), Status.ABORTED, 'SUPERSEDED')
      await sleep(50)
      assert.equal((await readAgent(controlPlane)).connected, true)
      newer.close()
    })
  })

  it('asks agents to come back later when it stops', async () => {
    await withStream({}, async (stream, controlPlane) => {
      const stopped = controlPlane.stop()
      const drain = await stream.next('drain')
      assert.equal(drain.reconnectAfter?.nanos, 20_000_000)
      assert.equal(await stream.end(), undefined)
      await stopped
    })
  })

  it('remembers agents and revisions after a restart, and pushes what is missing', async () => {
    await withDirectory(async (directory) => {
      const first = await startForTest(directory)
      const stream = new Stream(first.address)
      stream.send(hello())
      await stream.next('welcome')
      const version = await publish(first, 'headers')
      await stream.next('push')
      stream.close()
      await first.stop()

      const second = await startForTest(directory)
      assert.equal((await readAgent(second)).connected, false)
      const again = new Stream(second.address)
      again.send(hello())
      assert.equal(Number((await again.next('welcome')).desired?.version), version)
      const push = await again.next('push')
      assert.equal(Number(push.config?.version), version)
      again.send(status(push))
      await untilAgent(second, ({ inSync }) => inSync === true)
      again.close()
      await second.stop()
    })
  })

  it('numbers a new revision above what agents already run', async () => {
    await withDirectory(async (directory) => {
      const controlPlane = await startForTest(directory)
      const stream = new Stream(controlPlane.address)
      stream.send(hello({ resource: 'agent', version: 41n, sha256: Buffer.alloc(32) }))
      await stream.next('welcome')
      assert.equal(await publish(controlPlane, 'headers'), 42)
      assert.equal(Number((await stream.next('push')).config?.version), 42)
      stream.close()
      await controlPlane.stop()
    })
  })

  it('refuses what breaks the contract, with the field', async () => {
    await withDirectory(async (directory) => {
      const controlPlane = await startForTest(directory)
      const refuse = async (message: SyncRequestMessage, code: Status, reason: string, field?: string) => {
        const stream = new Stream(controlPlane.address)
        stream.send(message)
        const error = await stream.end()
        assertError(error, code, reason)
        assert.equal(detailsOf(error)?.badRequest?.[0]?.field, field)
        stream.close()
      }
      const badId = Hello.fromPartial({ agentId: Buffer.alloc(4) })
      const invalid = [Status.INVALID_ARGUMENT, 'INVALID_MESSAGE'] as const
      await refuse({ $case: 'hello', value: badId }, ...invalid, 'agentId')
      const badHash = Hello.fromPartial({ agentId, running: { version: 1n, sha256: Buffer.alloc(5) } })
      await refuse({ $case: 'hello', value: badHash }, ...invalid, 'running.sha256')
      const huge = Hello.fromPartial({ agentId, running: { version: 2n ** 63n } })
      await refuse({ $case: 'hello', value: huge }, ...invalid, 'running.version')
      await refuse(heartbeat(), Status.FAILED_PRECONDITION, 'HELLO_MISSING')
      await controlPlane.stop()
    })
  })
})

describe('ConfigService.FetchConfig', () => {
  it('answers with the latest revision, or nothing if that runs', async () => {
    await withDirectory(async (directory) => {
      const controlPlane = await startForTest(directory)
      const channel = connect(controlPlane.address)
      const client = createRpcClient(ConfigServiceDefinition, channel)
      assert.equal((await client.fetchConfig({ agentId })).push, undefined)
      await publish(controlPlane, 'headers')
      const { push } = await client.fetchConfig({ agentId })
      assert.equal(push?.content.toString(), 'capture: {level: headers}\n')
      assert.equal((await client.fetchConfig({ agentId, running: push?.config })).push, undefined)
      channel.close()
      await controlPlane.stop()
    })
  })
})

describe('the gRPC server', () => {
  it('reports the services as serving', async () => {
    await withDirectory(async (directory) => {
      const controlPlane = await startForTest(directory)
      const channel = connect(controlPlane.address)
      const health = createRpcClient(HealthDefinition, channel)
      for (const service of [
        '',
        'cleartap.controlplane.v1.ConfigService',
        'cleartap.controlplane.v1.ObjectService',
      ]) {
        assert.equal((await health.check({ service })).status, 1)
      }
      channel.close()
      await controlPlane.stop()
    })
  })
})
