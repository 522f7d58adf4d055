import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CaptureConfig } from '../../common/config/schema.js'
import { startGrpcServer } from '../../common/grpc-server.js'
import { createLogger } from '../../common/log.js'
import {
  ConfigServiceDefinition,
  type DeepPartial,
  HealthState,
  type SyncRequest,
  type SyncResponse,
} from '../../gen/cleartap/controlplane/v1/config.js'
import { loadAgentId } from './agent-id.js'
import { type ControlPlane, Program, withControlPlane, withDirectory } from './config-client.fixture.js'
import { ConfigClient } from './config-client.js'

type Level = CaptureConfig['level']

/** Runs a client in this process; `applied` is what its callback was given, `refuses` what it throws at. */
async function withClient(
  address: string,
  dataDir: string,
  use: (applied: Level[], client: ConfigClient) => Promise<void>,
  refuses?: Level,
): Promise<void> {
  const applied: Level[] = []
  const client = await ConfigClient.start({
    address,
    dataDir,
    agent: {
      agentId: await loadAgentId(dataDir),
      bootId: 'boot-1',
      version: '0.1.0',
      host: 'box-1',
      kernel: '6.18.44',
      architecture: 'x64',
      labels: { role: 'test' },
    },
    apply: async ({ level }) => {
      if (level === refuses) throw new Error(`cannot capture ${level}`)
      applied.push(level)
    },
    report: () => ({
      health: HealthState.HEALTH_STATE_HEALTHY,
      capture: { exchanges: 3n, bytesCaptured: 5n, bytesLost: 0n, recordsLost: 0n, processes: 1, probes: 4 },
      ingest: {
        eventsMade: 0n,
        eventsAcked: 0n,
        eventsDropped: 0n,
        spoolBytes: 0n,
        oldestUnacked: undefined,
      },
    }),
    logger: createLogger('agent', { level: 'error', format: 'json' }),
  })
  try {
    await use(applied, client)
  } finally {
    await client.close()
  }
}

describe('the configuration client', () => {
  it('applies what is pushed without a restart and reports itself', async () => {
    await withControlPlane((controlPlane, dataDir) =>
      withClient(controlPlane.address, dataDir, async (applied) => {
        await controlPlane.untilAgent(({ connected }) => connected)
        const version = await controlPlane.publish('capture: {level: headers}')
        const agent = await controlPlane.untilAgent(({ inSync }) => inSync)
        assert.equal(agent.running.version, version)
        assert.equal(agent.lastGood.version, version)
        assert.deepEqual(applied, ['headers'])
        await controlPlane.untilAgent(({ stats }) => stats.capture?.['bytesCaptured'] === '5')
      }),
    )
  })

  it('rejects what cannot be applied, keeps the last good revision, takes the next', async () => {
    await withControlPlane((controlPlane, dataDir) =>
      withClient(
        controlPlane.address,
        dataDir,
        async (applied) => {
          const good = await controlPlane.publish('capture: {level: headers}')
          await controlPlane.untilAgent(({ inSync }) => inSync)
          const bad = await controlPlane.publish('capture: {level: metadata}')
          const agent = await controlPlane.untilAgent(({ lastAttempt }) => lastAttempt?.version === bad)
          assert.equal(agent.lastAttempt?.state, 'rejected')
          assert.equal(agent.lastAttempt?.error?.message, 'cannot capture metadata')
          assert.equal(agent.running.version, good)
          const next = await controlPlane.publish('capture: {level: full}')
          await controlPlane.untilAgent(({ running }) => running.version === next)
          assert.deepEqual(applied, ['headers', 'full'])
        },
        'metadata',
      ),
    )
  })

  it('uses the last good revision when the control plane cannot be reached', async () => {
    await withControlPlane(async (controlPlane, dataDir) => {
      const version = await controlPlane.publish('capture: {level: headers}')
      await withClient(controlPlane.address, dataDir, async () => {
        await controlPlane.untilAgent(({ inSync }) => inSync)
      })
      await controlPlane.stop()
      await withClient(controlPlane.address, dataDir, async (applied, client) => {
        assert.deepEqual(applied, ['headers'])
        assert.equal(client.running.version, BigInt(version))
        assert.equal(client.connected, false)
      })
    })
  })

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    it(`comes back after the control plane was ended by ${signal} and gets what it missed`, async () => {
      await withControlPlane((controlPlane, dataDir) =>
        withClient(controlPlane.address, dataDir, async (applied) => {
          await controlPlane.publish('capture: {level: headers}')
          const before = await controlPlane.untilAgent(({ inSync }) => inSync)
          await controlPlane.stop(signal)
          await controlPlane.start()
          const after = await controlPlane.untilAgent(({ connected }) => connected)
          assert.equal(after.id, before.id)
          await controlPlane.publish('capture: {level: metadata}')
          await controlPlane.untilAgent(({ inSync }) => inSync)
          assert.deepEqual(applied, ['headers', 'metadata'])
        }),
      )
    })
  }

  it('does not ask again for a revision that it rejected, after a restart of either side', async () => {
    await withControlPlane(async (controlPlane, dataDir) => {
      const bad = await controlPlane.publish('capture: {level: metadata}')
      const refuse = async () => {
        await controlPlane.untilAgent(
          ({ connected, lastAttempt }) => connected && lastAttempt?.state === 'rejected',
        )
      }
      await withClient(controlPlane.address, dataDir, refuse, 'metadata')
      await controlPlane.stop()
      await controlPlane.start()
      await withClient(controlPlane.address, dataDir, async (applied) => {
        await refuse()
        const agent = await controlPlane.untilAgent(({ stats }) => stats.capture !== undefined)
        assert.equal(agent.lastAttempt?.version, bad)
        assert.deepEqual(applied, [])
      })
    })
  })
})

/** A control plane that breaks the contract: each stream gets these messages, then ends. */
async function withHostile(
  messages: readonly DeepPartial<SyncResponse>['message'][],
  use: (address: string, received: SyncRequest[]) => Promise<void>,
): Promise<void> {
  const received: SyncRequest[] = []
  const server = await startGrpcServer({
    listen: '127.0.0.1:0',
    logger: createLogger('hostile', { level: 'error', format: 'json' }),
    services: [ConfigServiceDefinition.fullName],
    register: (grpc) =>
      grpc.add(ConfigServiceDefinition, {
        async *sync(requests) {
          const reader = requests[Symbol.asyncIterator]()
          const read = async () => {
            const next = await reader.next()
            if (next.done !== true) received.push(next.value)
          }
          await read()
          for (const message of messages) yield { sequence: 1n, ...(message && { message }) }
          await Promise.race([read(), sleep(20)])
        },
        fetchConfig: async () => ({}),
      }),
  })
  try {
    await use(server.address, received)
  } finally {
    await server.stop(0)
  }
}

const zero = { seconds: 0n, nanos: 0 }
const huge = { seconds: 2n ** 62n, nanos: 0 }

describe('a control plane that breaks the contract', () => {
  it('does not make the agent busy by asking for no delays', async () => {
    const welcome = { heartbeatInterval: zero, reconnectMin: zero, reconnectMax: zero }
    await withHostile([{ $case: 'welcome', value: welcome }], (address, received) =>
      withDirectory((dataDir) =>
        withClient(address, dataDir, async () => {
          await sleep(1000)
          assert.ok(received.length >= 3, `${received.length} messages: it never came back`)
          assert.ok(received.length < 300, `${received.length} messages in a second`)
        }),
      ),
    )
  })

  it('does not lose the agent by asking for endless delays, and its nonsense changes nothing', async () => {
    const messages: DeepPartial<SyncResponse>['message'][] = [
      { $case: 'welcome', value: { heartbeatInterval: huge, reconnectMin: zero, reconnectMax: huge } },
      { $case: 'push', value: { nonce: 'n1' } },
      {
        $case: 'push',
        value: {
          nonce: 'n2',
          config: { resource: 'agent', version: 2n ** 64n - 1n, sha256: Buffer.alloc(32) },
          content: Buffer.from('capture: {level: metadata}'),
        },
      },
      undefined,
      { $case: 'drain', value: { reconnectAfter: { seconds: -5n, nanos: 0 } } },
    ]
    await withHostile(messages, (address, received) =>
      withDirectory((dataDir) =>
        withClient(address, dataDir, async (applied, client) => {
          await sleep(500)
          const hellos = received.filter(({ message }) => message?.$case === 'hello')
          assert.ok(hellos.length >= 2, `${hellos.length} sessions`)
          assert.deepEqual(applied, [])
          assert.equal(client.running.version, 0n)
        }),
      ),
    )
  })
})

/** Starts the fixture process, waits until it applies the level, and kills it there. */
async function killWhileApplying(controlPlane: ControlPlane, dataDir: string, level: Level): Promise<void> {
  const agent = startAgent(controlPlane, dataDir, level)
  try {
    while ((await agent.nextLine())['applying'] !== level);
  } finally {
    await agent.stop('SIGKILL')
  }
}

function startAgent(controlPlane: ControlPlane, dataDir: string, hangLevel: string): Program {
  const env = { TEST_ADDRESS: controlPlane.address, TEST_DATA_DIR: dataDir, TEST_HANG_LEVEL: hangLevel }
  return new Program('agent/src/config-agent.fixture.js', [], env)
}

describe('an agent that is killed between push and answer', () => {
  it('starts with the last good revision, is offered the other again, and applies it', async () => {
    await withControlPlane(async (controlPlane, dataDir) => {
      await controlPlane.publish('capture: {level: headers}')
      await withClient(controlPlane.address, dataDir, async () => {
        await controlPlane.untilAgent(({ inSync }) => inSync)
      })
      await controlPlane.publish('capture: {level: metadata}')
      await killWhileApplying(controlPlane, dataDir, 'metadata')
      const agent = startAgent(controlPlane, dataDir, 'none')
      try {
        assert.deepEqual(await agent.nextLine(), { applying: 'headers' })
        assert.deepEqual(await agent.nextLine(), { applying: 'metadata' })
        await controlPlane.untilAgent(({ inSync }) => inSync)
      } finally {
        await agent.stop('SIGKILL')
      }
    })
  })

  it('rejects a revision during which it was killed three times', async () => {
    await withControlPlane(async (controlPlane, dataDir) => {
      const bad = await controlPlane.publish('capture: {level: metadata}')
      for (let kill = 0; kill < 3; kill += 1) await killWhileApplying(controlPlane, dataDir, 'metadata')
      await withClient(controlPlane.address, dataDir, async (applied) => {
        const { lastAttempt } = await controlPlane.untilAgent(
          (agent) => agent.lastAttempt?.state === 'rejected',
        )
        assert.equal(lastAttempt?.version, bad)
        assert.match(lastAttempt?.error?.message ?? '', /ended 3 times/)
        assert.deepEqual(applied, [])
        await controlPlane.publish('capture: {level: headers}')
        await controlPlane.untilAgent(({ inSync }) => inSync)
        assert.deepEqual(applied, ['headers'])
      })
    })
  })
})
