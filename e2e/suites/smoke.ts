/** The whole path with real programs: what clients and servers said is in ClickHouse and the bucket, once and whole. */
import assert from 'node:assert/strict'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openQueries } from '../../deploy/local/queries.js'
import type { Stack } from '../../deploy/local/stack.js'
import { startStack } from '../../deploy/local/stack.js'
import type { ClientName, SentRequest } from '../../deploy/local/traffic.js'
import { makeBodies, send, startTlsServer } from '../../deploy/local/traffic.js'
import { checkBothSides, freshPrefix, onSide, waitForCount } from '../exchanges.js'
import { dumpProgram, findLivingLinks, findLoadedBpf } from '../kernel.js'
import { startNginx } from '../nginx.js'
import type { Suite, SuiteContext } from '../suite.js'
import { checkKeptConnections, keptBodyBytes } from './smoke-kept.js'
import { checkProxy } from './smoke-proxy.js'
import { exeOf, type Scene } from './smoke-scene.js'

const sizes = [0, 1, 16 * 1024, 1024 * 1024]
const clients: readonly ClientName[] = ['curl', 'python', 'requests', 'asyncio', 'node']

const checkPairs = async ({ cell }: SuiteContext, scene: Scene): Promise<void> => {
  for (const [name, server] of Object.entries({ python: scene.python, nginx: scene.nginx })) {
    for (const client of clients) {
      await cell(`${client} to ${name}: bodies of 0 B to 1 MiB, both sides`, async () => {
        const prefix = freshPrefix('smoke')
        const method = name === 'nginx' ? 'GET' : 'POST'
        const sent: SentRequest[] = []
        for (const size of sizes)
          sent.push(await send(server, client, { method, path: `${prefix}/${size}`, body: size }))
        const stored = await waitForCount(scene, prefix, 2 * sent.length)
        const exe = await exeOf(client)
        for (const request of sent) await checkBothSides(scene.queries, stored, request, server, exe)
        const matches = [...new Set(onSide(stored, 'client').map(({ confidence }) => confidence))]
        return `${sent.length} × ${method}, ${stored.length} exchanges, clients’ sockets ${matches.join(' and ')}`
      })
    }
  }
}

const checkShortLives = ({ cell, full }: SuiteContext, scene: Scene): Promise<boolean> =>
  cell('processes that live for milliseconds are seen', async () => {
    const prefix = freshPrefix('short')
    const count = full ? 500 : 50
    const sent: SentRequest[] = []
    const lifetimesMs: number[] = []
    for (let index = 0; index < count; index += 1) {
      const start = performance.now()
      sent.push(await send(scene.python, 'curl', { method: 'GET', path: `${prefix}/${index}/1`, body: 1 }))
      lifetimesMs.push(performance.now() - start)
    }
    const stored = await waitForCount(scene, prefix, 2 * count)
    const pids = onSide(stored, 'client').map(({ path, pid }) => [path, pid])
    assert.deepEqual(
      new Map(pids.map(([path, pid]) => [path, pid])),
      new Map(sent.map(({ path, clientPid }) => [path, clientPid])),
    )
    const median = lifetimesMs.toSorted((a, b) => a - b)[Math.floor(count / 2)] ?? 0
    return `${count} curl processes of about ${median.toFixed(0)} ms`
  })

const checkQueryValues = ({ cell }: SuiteContext, scene: Scene): Promise<boolean> =>
  cell('query values stay out of events', async () => {
    const prefix = freshPrefix('query')
    const path = `${prefix}/1?token=hunter2&page=3`
    await send(scene.python, 'curl', { method: 'GET', path, body: 1 })
    const stored = await waitForCount(scene, prefix, 2)
    for (const request of onSide(stored, 'client')) assert.equal(request.query, 'token=&page=')
    const text = JSON.stringify(stored, (_, value) => (typeof value === 'bigint' ? String(value) : value))
    assert.ok(!text.includes('hunter2'), 'the value is in an event')
    return 'token=&page='
  })

/** Helpers by which a BPF program could change what it looks at. */
const writingHelpers = /probe_write_user|override_return|send_signal|setsockopt|copy_to_user/

const checkReadOnly = ({ cell }: SuiteContext, { stack }: Scene): Promise<boolean> =>
  cell('loaded BPF programs only read', async () => {
    const { programs, links } = await findLoadedBpf(stack.agent.pid)
    assert.ok(programs.length > 0, 'the agent holds no BPF program')
    for (const id of programs) {
      const found = writingHelpers.exec(await dumpProgram(id))
      assert.equal(found, null, `program ${id} calls ${found?.[0]}`)
    }
    return `${programs.length} programs, ${links.length} links`
  })

const checkLogs = ({ cell }: SuiteContext, { stack }: Scene): Promise<boolean> =>
  cell('no secret and no URL signature in any log', async () => {
    for (const service of [stack.pulse, stack.controlplane, stack.agent]) {
      const log = await readFile(service.logPath, 'utf8')
      assert.ok(!log.includes(stack.s3.credentials.secretAccessKey), `${service.name} logs the secret key`)
      assert.doesNotMatch(log, /X-Amz-Signature|hunter2/, `${service.name} logs what it must not`)
    }
    return undefined
  })

const checkDetach = async ({ cell }: SuiteContext, stack: Stack): Promise<void> => {
  const { links } = await findLoadedBpf(stack.agent.pid)
  await cell('probes are gone after the agent stopped', async () => {
    assert.ok(links.length > 0, 'the agent held no link')
    await stack.agent.stop()
    assert.deepEqual(await findLivingLinks(links), [])
    return `${links.length} links`
  })
}

const runScene = async (context: SuiteContext, scene: Scene): Promise<void> => {
  await checkPairs(context, scene)
  await checkProxy(context, scene)
  await checkKeptConnections(context, scene)
  await checkShortLives(context, scene)
  await checkQueryValues(context, scene)
  await checkReadOnly(context, scene)
  await checkLogs(context, scene)
  await checkDetach(context, scene.stack)
}

const withServers = async (context: SuiteContext, stack: Stack): Promise<void> => {
  const directories = ['python', 'nginx'].map((name) => join(stack.directory, name))
  for (const directory of directories) {
    await mkdir(directory)
    await makeBodies(directory, [...sizes, keptBodyBytes])
  }
  const [pythonDirectory = '', nginxDirectory = ''] = directories
  const python = await startTlsServer(pythonDirectory)
  try {
    const nginx = await startNginx(nginxDirectory, python)
    const queries = openQueries(stack)
    try {
      await runScene(context, { stack, queries, python, nginx })
    } finally {
      queries.close()
      await nginx.program.stop()
    }
  } finally {
    await python.program.stop()
  }
}

const run = async (context: SuiteContext): Promise<void> => {
  const stack = await startStack()
  try {
    await withServers(context, stack)
  } finally {
    await stack.stop()
  }
}

export const suite: Suite = {
  name: 'smoke',
  about: 'the whole path: curl, urllib, requests, asyncio, node, nginx; both sides; bodies byte for byte',
  run,
}
