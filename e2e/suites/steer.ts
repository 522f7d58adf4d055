/** Revisions through the control plane change what the running agent captures; bad ones change nothing. */
import assert from 'node:assert/strict'
import { mkdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { httpOf } from '../../deploy/local/captured.js'
import { checkout } from '../../deploy/local/checkout.js'
import type { Queries } from '../../deploy/local/queries.js'
import { openQueries } from '../../deploy/local/queries.js'
import type { Stack } from '../../deploy/local/stack.js'
import { startStack } from '../../deploy/local/stack.js'
import type { TlsServer } from '../../deploy/local/traffic.js'
import { makeBodies, send, startTlsServer } from '../../deploy/local/traffic.js'
import { ConfigState } from '../../gen/cleartap/controlplane/v1/config.js'
import { ArtifactKind } from '../../gen/cleartap/event/v1/event.js'
import type { Request } from '../../gen/cleartap/pulse/v1/query.js'
import { freshPrefix, onSide, waitForCount } from '../exchanges.js'
import { playControlPlane, postRevision, steer, untilAgent } from '../revisions.js'
import type { Suite, SuiteContext } from '../suite.js'

const bodyBytes = 1024
const keptBytes = 100
/** After the awaited events came: time in which unwanted ones would come too. */
const settleMs = 1500

const kinds = {
  headers: ArtifactKind.ARTIFACT_KIND_HTTP_HEADERS,
  request: ArtifactKind.ARTIFACT_KIND_HTTP_REQUEST_BODY,
  response: ArtifactKind.ARTIFACT_KIND_HTTP_RESPONSE_BODY,
} as const

interface Scene {
  readonly stack: Stack
  readonly queries: Queries
  readonly server: TlsServer
}

/** One POST by curl and one by Python, as stored when nothing more comes. */
const exchange = async (scene: Scene, expected: number): Promise<readonly Request[]> => {
  const prefix = freshPrefix('steer')
  for (const client of ['curl', 'python'] as const) {
    await send(scene.server, client, {
      method: 'POST',
      path: `${prefix}/${client}/${bodyBytes}`,
      body: bodyBytes,
    })
  }
  await waitForCount(scene, prefix, expected)
  await sleep(settleMs)
  return waitForCount(scene, prefix, expected)
}

const artifactsOf = (request: Request) => httpOf(request)?.artifacts ?? assert.fail('not an HTTP request')

/** Every exchange is stored on both sides with exactly these objects. */
const checkArtifacts = async (scene: Scene, wanted: readonly ArtifactKind[]): Promise<readonly Request[]> => {
  const stored = await exchange(scene, 4)
  for (const request of stored) {
    const found = artifactsOf(request).map(({ kind }) => kind)
    assert.deepEqual(found.toSorted(), wanted.toSorted())
    for (const artifact of artifactsOf(request)) await scene.queries.fetchObject(artifact)
  }
  return stored
}

/** A cell in which the agent must not have been restarted. */
const steeredCell = (
  { cell }: SuiteContext,
  { stack }: Scene,
  name: string,
  check: () => Promise<string | undefined>,
): Promise<boolean> =>
  cell(name, async () => {
    const { pid } = stack.agent
    const detail = await check()
    assert.ok(stack.agent.program.isRunning(), 'the agent has ended')
    assert.equal(stack.agent.pid, pid)
    return detail
  })

const checkLevels = async (context: SuiteContext, scene: Scene): Promise<void> => {
  const { controlplane } = scene.stack
  const levels = {
    metadata: [],
    headers: [kinds.headers],
    full: Object.values(kinds),
  } as const
  for (const [level, wanted] of Object.entries(levels)) {
    await steeredCell(context, scene, `level ${level}: ${wanted.length} objects an exchange`, async () => {
      const version = await steer(controlplane, `capture: {level: ${level}}`)
      await checkArtifacts(scene, wanted)
      return `revision ${version}`
    })
  }
}

const checkBodyLimit = (context: SuiteContext, scene: Scene): Promise<boolean> =>
  steeredCell(context, scene, `bodies cut at ${keptBytes} bytes are marked so`, async () => {
    await steer(scene.stack.controlplane, `capture: {level: full, max_body_bytes: ${keptBytes}}`)
    const stored = await checkArtifacts(scene, Object.values(kinds))
    for (const request of stored) {
      assert.equal(httpOf(request)?.requestBodyBytes, BigInt(bodyBytes), 'size of the whole body')
      for (const { kind, size, truncated } of artifactsOf(request)) {
        if (kind === kinds.headers) assert.equal(truncated, false)
        else assert.deepEqual([size, truncated], [BigInt(keptBytes), true])
      }
    }
    return undefined
  })

const checkIgnore = async (context: SuiteContext, scene: Scene): Promise<void> => {
  const { controlplane } = scene.stack
  await steeredCell(context, scene, 'ignore.comm: curl is left alone, others go on', async () => {
    await steer(controlplane, 'capture: {ignore: {comm: [curl]}}')
    const stored = await exchange(scene, 3)
    const clients = onSide(stored, 'client')
    assert.deepEqual(
      clients.map(({ comm }) => comm),
      ['python'],
    )
    assert.equal(onSide(stored, 'server').length, 2)
    return undefined
  })
  await steeredCell(context, scene, 'ignore.exe: Python is left alone, also the running server', async () => {
    const exe = await realpath(checkout.python)
    await steer(controlplane, `capture: {ignore: {exe: [${JSON.stringify(exe)}]}}`)
    const stored = await exchange(scene, 1)
    assert.deepEqual(
      onSide(stored, 'client').map(({ comm }) => comm),
      ['curl'],
    )
    return exe
  })
  await steeredCell(context, scene, 'without the rule all come back', async () => {
    await steer(controlplane, 'capture: {}')
    await checkArtifacts(scene, Object.values(kinds))
    return undefined
  })
}

const checkRefusedByRest = (context: SuiteContext, scene: Scene): Promise<boolean> =>
  steeredCell(context, scene, 'REST refuses a bad revision: where, what, what is accepted', async () => {
    const { controlplane } = scene.stack
    const before = await untilAgent(controlplane, ({ inSync }) => inSync)
    const { status, body } = await postRevision(controlplane, 'capture:\n  levle: headers\n')
    assert.deepEqual([status, body['reason']], [400, 'INVALID_REVISION'])
    assert.match(String(body['detail']), /^2:3: .*levle.*did you mean "?level/)
    const wrong = await postRevision(controlplane, 'capture:\n  level: everything\n')
    assert.equal(wrong.status, 400)
    assert.match(String(wrong.body['detail']), /^2:10: .*everything.*metadata.*headers.*full/)
    const after = await untilAgent(controlplane, ({ inSync }) => inSync)
    assert.deepEqual(after.running, before.running)
    return String(body['detail'])
  })

const refusals = [
  ['levle: headers', 'capture: {levle: headers}', /levle/],
  ['not YAML', 'capture: {level: [', /./],
  ['bytes that are no UTF-8', Buffer.from([0xff, 0xfe, 0x00]), /./],
  ['257 KiB', `# ${'x'.repeat(257 * 1024)}\ncapture: {}`, /at most 262144/],
] as const

const checkRefusedByAgent = (context: SuiteContext, scene: Scene): Promise<boolean> =>
  steeredCell(context, scene, 'the agent refuses what a control plane should not send', async () => {
    const { controlplane } = scene.stack
    const good = await steer(controlplane, 'capture: {level: headers}')
    const address = controlplane.address('listen')
    await controlplane.kill()
    const played = await playControlPlane(address)
    try {
      let version = BigInt(good)
      for (const [name, content, reason] of refusals) {
        version += 1n
        const answer = await played.push(version, Buffer.from(content))
        assert.equal(answer.state, ConfigState.CONFIG_STATE_REJECTED, name)
        assert.match(answer.errors.map(({ message }) => message).join('\n'), reason, name)
        assert.equal(answer.running?.version, BigInt(good), name)
      }
      const wrongSum = await played.push(version + 1n, Buffer.from('capture: {}'), Buffer.alloc(32))
      assert.equal(wrongSum.errors[0]?.code, 'CHECKSUM_MISMATCH')
      const old = await played.push(BigInt(good) - 1n, Buffer.from('capture: {level: full}'))
      assert.equal(old.errors[0]?.code, 'VERSION_NOT_NEWER')
    } finally {
      await played.stop()
      await controlplane.start()
    }
    await checkArtifacts(scene, [kinds.headers])
    const agent = await untilAgent(controlplane, ({ connected, inSync }) => connected && inSync)
    assert.equal(agent.lastAttempt?.state, 'rejected')
    assert.match(agent.lastAttempt?.error?.message ?? '', /versions only rise/)
    assert.deepEqual([agent.running.version, agent.lastGood.version], [good, good])
    return `${refusals.length + 2} refusals, revision ${good} runs on`
  })

const checkLastGood = ({ cell }: SuiteContext, scene: Scene): Promise<boolean> =>
  cell('kill -9 of both: the agent starts alone with its last good revision', async () => {
    const { agent, controlplane } = scene.stack
    const version = await steer(controlplane, 'capture: {level: headers, ignore: {comm: [curl]}}')
    await controlplane.kill()
    await agent.kill()
    await agent.start()
    const stored = await exchange(scene, 3)
    for (const request of stored)
      assert.deepEqual(
        artifactsOf(request).map(({ kind }) => kind),
        [kinds.headers],
      )
    await controlplane.start()
    const view = await untilAgent(controlplane, ({ connected, inSync }) => connected && inSync)
    assert.deepEqual([view.running.version, view.lastGood.version], [version, version])
    return `revision ${version}`
  })

const checkReconnect = (context: SuiteContext, scene: Scene): Promise<boolean> =>
  steeredCell(
    context,
    scene,
    'kill -9 of the control plane: the agent comes back and is steered',
    async () => {
      const { controlplane } = scene.stack
      const before = await untilAgent(controlplane, ({ inSync }) => inSync)
      await controlplane.kill()
      await controlplane.start()
      const after = await untilAgent(controlplane, ({ connected, inSync }) => connected && inSync)
      assert.deepEqual([after.id, after.running], [before.id, before.running])
      const version = await steer(controlplane, 'capture: {level: full}')
      assert.equal(version, before.running.version + 1, 'no version is given twice')
      await checkArtifacts(scene, Object.values(kinds))
      await untilAgent(controlplane, ({ health }) => health === 'healthy')
      return `revision ${version}`
    },
  )

const run = async (context: SuiteContext): Promise<void> => {
  const stack = await startStack({ controlplane: { reconnect_min_ms: 100, reconnect_max_ms: 1000 } })
  try {
    const directory = join(stack.directory, 'python')
    await mkdir(directory)
    await makeBodies(directory, [bodyBytes])
    const server = await startTlsServer(directory)
    const queries = openQueries(stack)
    try {
      const scene = { stack, queries, server }
      await checkLevels(context, scene)
      await checkBodyLimit(context, scene)
      await checkIgnore(context, scene)
      await checkRefusedByRest(context, scene)
      await checkRefusedByAgent(context, scene)
      await checkLastGood(context, scene)
      await checkReconnect(context, scene)
    } finally {
      queries.close()
      await server.program.stop()
    }
  } finally {
    await stack.stop()
  }
}

export const suite: Suite = {
  name: 'steer',
  about: 'revisions change the running agent; bad ones are refused, good ones survive kill -9',
  run,
}
