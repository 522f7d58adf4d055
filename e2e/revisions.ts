/** Asks the control plane's REST interface to steer the only agent, and plays a control plane that checks nothing. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { startGrpcServer } from '../common/grpc-server.js'
import { createLogger } from '../common/log.js'
import type { Service } from '../deploy/local/service.js'
import {
  ConfigServiceDefinition,
  type ConfigStatus,
  type DeepPartial,
  type SyncRequest,
  type SyncResponse,
} from '../gen/cleartap/controlplane/v1/config.js'

const agentTimeoutMs = 30_000
const pollMs = 50

/** What /api/v1/agents says of an agent, as far as suites look at it. */
export interface AgentView {
  readonly id: string
  readonly connected: boolean
  readonly inSync: boolean
  readonly health: string
  readonly running: { readonly version: number; readonly sha256: string }
  readonly lastGood: { readonly version: number }
  readonly lastAttempt?: {
    readonly version: number
    readonly state: string
    readonly error?: { readonly message: string }
  }
}

/** An answer of REST, its body as JSON. */
export interface RestAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

export const postRevision = async (controlplane: Service, content: string): Promise<RestAnswer> => {
  const response = await fetch(`http://${controlplane.address('http')}/api/v1/revisions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ content }),
  })
  return { status: response.status, body: Object(await response.json()) }
}

const listAgents = async (controlplane: Service): Promise<readonly AgentView[]> => {
  const response = await fetch(`http://${controlplane.address('http')}/api/v1/agents`)
  assert.equal(response.status, 200)
  return Object(await response.json()).agents
}

/** Waits until the only agent is as asked; throws with what it is otherwise. */
export const untilAgent = async (
  controlplane: Service,
  accepts: (agent: AgentView) => boolean,
): Promise<AgentView> => {
  const deadlineMs = performance.now() + agentTimeoutMs
  for (;;) {
    const agents = await listAgents(controlplane)
    assert.ok(agents.length <= 1, `one agent expected, got ${agents.length}`)
    const [agent] = agents
    if (agent !== undefined && accepts(agent)) return agent
    if (performance.now() > deadlineMs) assert.fail(`the agent did not become so: ${JSON.stringify(agent)}`)
    await sleep(pollMs)
  }
}

/** Adds a revision and waits until the agent runs it; gives its version. */
export const steer = async (controlplane: Service, content: string): Promise<number> => {
  const { status, body } = await postRevision(controlplane, content)
  assert.equal(status, 201, JSON.stringify(body))
  const version = Number(body['version'])
  await untilAgent(controlplane, ({ inSync, running }) => inSync && running.version === version)
  return version
}

export interface PlayedControlPlane {
  /** Waits for the agent, sends it the document under this version, gives the agent's answer. */
  push(version: bigint, content: Uint8Array, sha256?: Uint8Array): Promise<ConfigStatus>
  stop(): Promise<void>
}

/** One connected agent: what it answers, and how it is sent something. */
interface Line {
  send(response: DeepPartial<SyncResponse>): void
}

/** Speaks the contract on the address of a control plane that is down, and pushes what the real one would refuse. */
export const playControlPlane = async (listen: string): Promise<PlayedControlPlane> => {
  const connected = Promise.withResolvers<Line>()
  const answers = new Map<string, PromiseWithResolvers<ConfigStatus>>()
  const server = await startGrpcServer({
    listen,
    logger: createLogger('controlplane', { level: 'error', format: 'json' }),
    services: [ConfigServiceDefinition.fullName],
    register: (rpc) =>
      rpc.add(ConfigServiceDefinition, {
        sync: (requests, context) => converse(requests, context.signal, connected.resolve, answers),
        fetchConfig: async () => ({}),
      }),
  })
  server.setServing(true)
  let pushes = 0
  return {
    push: async (version, content, sha256 = createHash('sha256').update(content).digest()) => {
      const line = await connected.promise
      pushes += 1
      const nonce = `played-${pushes}`
      const answer = Promise.withResolvers<ConfigStatus>()
      answers.set(nonce, answer)
      const config = { resource: 'agent', version, sha256: Buffer.from(sha256) }
      const value = { nonce, config, content: Buffer.from(content), mediaType: 'application/yaml' }
      line.send({ message: { $case: 'push', value } })
      return answer.promise
    },
    stop: () => server.stop(0),
  }
}

async function* converse(
  requests: AsyncIterable<SyncRequest>,
  signal: AbortSignal,
  onConnected: (line: Line) => void,
  answers: ReadonlyMap<string, PromiseWithResolvers<ConfigStatus>>,
): AsyncGenerator<DeepPartial<SyncResponse>> {
  const waiting: DeepPartial<SyncResponse>[] = []
  let wake = (): void => undefined
  const reading = (async () => {
    for await (const { message } of requests) {
      if (message?.$case === 'status') answers.get(message.value.nonce)?.resolve(message.value)
    }
  })().catch(() => undefined)
  signal.addEventListener('abort', () => wake())
  const brief = { seconds: 0n, nanos: 100_000_000 }
  const welcome = { heartbeatInterval: brief, reconnectMin: brief, reconnectMax: brief, sessionId: 'played' }
  yield { message: { $case: 'welcome', value: welcome } }
  onConnected({
    send: (response) => {
      waiting.push(response)
      wake()
    },
  })
  while (!signal.aborted) {
    const next = waiting.shift()
    if (next !== undefined) yield next
    else {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  await reading
}
