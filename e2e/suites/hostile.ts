/** Content that would do harm if anything took it for more than content goes through the whole path. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { httpOf } from '../../deploy/local/captured.js'
import { checkout } from '../../deploy/local/checkout.js'
import type { Queries } from '../../deploy/local/queries.js'
import { openQueries } from '../../deploy/local/queries.js'
import type { Service } from '../../deploy/local/service.js'
import type { Stack } from '../../deploy/local/stack.js'
import { startStack } from '../../deploy/local/stack.js'
import { ArtifactKind, type HttpRequest } from '../../gen/cleartap/event/v1/event.js'
import type { Request } from '../../gen/cleartap/pulse/v1/query.js'
import { programsOutsideTmp } from '../bystanders.js'
import { freshPrefix, waitForCount } from '../exchanges.js'
import { hostileBodies, hostileNames, hostileTargets, hostileValues } from '../hostile-texts.js'
import { type NamedPython, namePython, type RawServer, startRawServer, talk } from '../raw-traffic.js'
import { CannotRun, type Suite, type SuiteContext } from '../suite.js'

const maxPathChars = 8192
const maxUserAgentChars = 512
const maxCommBytes = 15
const arrivalTimeoutMs = 90_000
const watchTimeout = '90s'
/** The first line of watch. */
const columnTitles = /TIME +PID +COMMAND/
const outputTailChars = 2000
const oddName = "X-'`|~!#$%&*+.^_"

/** The server has the name of the third client, which gives orders to terminals. */
const serverName = 2

interface Scene {
  readonly stack: Stack
  readonly queries: Queries
  readonly server: RawServer
  readonly pythons: readonly NamedPython[]
}

/** One exchange as it goes over the wire. */
interface Plan {
  readonly prefix: string
  readonly target: Buffer
  readonly value: Buffer
  readonly requestBody: Buffer
  readonly responseBody: Buffer
  readonly name: string
  readonly python: NamedPython
}

const at = <T>(list: readonly T[], index: number): T =>
  list[index % list.length] ?? assert.fail('an empty list')

const planOf = ({ pythons }: Scene, prefix: string, index: number): Plan => ({
  prefix: `${prefix}/${index}/`,
  target: at(hostileTargets, index),
  value: at(hostileValues, index),
  requestBody: at(hostileBodies, index),
  responseBody: at(hostileBodies, index + 1),
  name: at(hostileNames, index),
  python: at(pythons, index),
})

const joined = (...parts: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)))

const requestOf = ({ prefix, target, value, requestBody }: Plan): Buffer =>
  joined(
    ...['DROP-TABLE_X ', prefix, target, "?q';--=", 'secret&FORMAT HTTP/1.1\r\n'],
    ...['Host: ', value, '\r\nUser-Agent: ', value, '\r\nContent-Type: ', value],
    ...['\r\ntraceparent: ', value, '\r\n', oddName, ': ', value],
    ...[`\r\nContent-Length: ${requestBody.length}\r\n\r\n`, requestBody],
  )

const responseOf = ({ value, responseBody }: Plan): Buffer =>
  joined(
    ...['HTTP/1.1 200 ', value, '\r\nContent-Type: ', value, '\r\nSet-Cookie: ', value],
    ...['\r\n', oddName, ': ', value, `\r\nContent-Length: ${responseBody.length}\r\n\r\n`, responseBody],
  )

const sendPlan = (server: RawServer, plan: Plan): Promise<number> =>
  talk(server, plan.python, requestOf(plan), responseOf(plan), [...hostileNames])

const objectOf = async (queries: Queries, http: HttpRequest, kind: ArtifactKind): Promise<Buffer> => {
  const artifact = http.artifacts.find((candidate) => candidate.kind === kind)
  assert.ok(artifact !== undefined, `no object of kind ${kind}`)
  return Buffer.from(await queries.fetchObject(artifact))
}

/** The event holds each value as its contract says: as sent, cut, or left out where it is not what it should be. */
const checkEvent = (http: HttpRequest, plan: Plan): void => {
  const path = joined(plan.prefix, plan.target).toString('latin1')
  assert.equal(http.path, path.slice(0, maxPathChars))
  assert.equal(http.method, 'DROP-TABLE_X')
  assert.equal(http.query, "q';--=&FORMAT")
  assert.equal(http.userAgent, plan.value.toString('latin1').slice(0, maxUserAgentChars))
  assert.deepEqual([http.host, http.requestContentType, http.responseContentType], ['', '', ''])
  assert.deepEqual([http.traceId.length, http.spanId.length, http.status], [0, 0, 200])
}

const checkObjects = async (queries: Queries, http: HttpRequest, plan: Plan): Promise<void> => {
  const value = plan.value.toString('latin1')
  const heads = JSON.parse(
    (await objectOf(queries, http, ArtifactKind.ARTIFACT_KIND_HTTP_HEADERS)).toString(),
  )
  assert.deepEqual(heads.request.headers, [
    ...['Host', 'User-Agent', 'Content-Type', 'traceparent', oddName].map((name) => [name, value]),
    ['Content-Length', String(plan.requestBody.length)],
  ])
  assert.equal(heads.response.line, `HTTP/1.1 200 ${value}`)
  assert.deepEqual(heads.response.headers, [
    ...['Content-Type', 'Set-Cookie', oddName].map((name) => [name, value]),
    ['Content-Length', String(plan.responseBody.length)],
  ])
  const request = await objectOf(queries, http, ArtifactKind.ARTIFACT_KIND_HTTP_REQUEST_BODY)
  const response = await objectOf(queries, http, ArtifactKind.ARTIFACT_KIND_HTTP_RESPONSE_BODY)
  assert.ok(request.equals(plan.requestBody), 'request body')
  assert.ok(response.equals(plan.responseBody), 'response body')
}

const checkProcess = ({ process }: Request, python: NamedPython, name: string, pid: number): void => {
  assert.equal(process?.exe, python.exe)
  assert.equal(process?.comm, Buffer.from(name).subarray(0, maxCommBytes).toString())
  assert.equal(process?.pid, pid)
}

const checkExchanges = async ({ cell }: SuiteContext, scene: Scene): Promise<void> => {
  const count = Math.max(hostileBodies.length, hostileTargets.length, hostileValues.length)
  for (let index = 0; index < count; index += 1) {
    const plan = planOf(scene, freshPrefix('hostile'), index)
    const shown = JSON.stringify(plan.value.toString('latin1').slice(0, 24))
    await cell(`${index}: ${shown} everywhere, both sides`, async () => {
      const pid = await sendPlan(scene.server, plan)
      const stored = await waitForCount(scene, plan.prefix, 2, arrivalTimeoutMs)
      for (const request of stored) {
        const http = httpOf(request) ?? assert.fail('not an HTTP request')
        checkEvent(http, plan)
        await checkObjects(scene.queries, http, plan)
      }
      const serverPid = scene.server.program.pid
      const client = stored.find(({ process }) => process?.pid !== serverPid)
      const server = stored.find(({ process }) => process?.pid === serverPid)
      checkProcess(client ?? assert.fail('no client'), plan.python, plan.name, pid)
      const named = at(scene.pythons, serverName)
      checkProcess(server ?? assert.fail('no server'), named, at(hostileNames, serverName), serverPid)
      return undefined
    })
  }
}

/** The definitions of all databases, tables and users, as the engine keeps them on disk. */
const definitionsOf = async ({ directory }: Stack): Promise<readonly string[]> => {
  const root = join(directory, 'pulse', 'clickhouse')
  const files = (await readdir(root, { recursive: true })).filter((name) => name.endsWith('.sql')).toSorted()
  return Promise.all(
    files.map(async (name) => {
      const content = await readFile(join(root, name))
      return `${name} ${createHash('sha256').update(content).digest('hex')}`
    }),
  )
}

const metricsOf = async (service: Service): Promise<ReadonlyMap<string, number>> => {
  const response = await fetch(`http://${service.address('admin')}/metrics`)
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const end = line.lastIndexOf(' ')
      return [line.slice(0, end), Number(line.slice(end + 1))]
    }),
  )
}

const checkHealth = async ({ stack }: Scene, pids: readonly number[]): Promise<void> => {
  const services = [stack.pulse, stack.controlplane, stack.agent]
  assert.deepEqual(
    services.map(({ pid }) => pid),
    pids,
  )
  for (const service of services) {
    assert.ok(service.program.isRunning(), `${service.name} has ended`)
    const { status } = await fetch(`http://${service.address('admin')}/healthz`)
    assert.equal(status, 200, service.name)
  }
  const metrics = await metricsOf(stack.pulse)
  for (const [name, value] of metrics) {
    if (/rejected_total|quarantined|commit_retries_total|engine_restarts/.test(name)) {
      assert.equal(value, 0, name)
    }
  }
}

/** Our own colors: the only orders to a terminal that may be there. */
const ownColors = new RegExp(`${String.fromCharCode(0x1b)}\\[(?:2|22|3[1-6]|39|9[0-7]|1|0)?m`, 'g')
const unsafe = /(?![\t\r\n])[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u

interface Watching {
  /** Resolves when exchanges are being watched; rejects if watch cannot start. */
  readonly ready: Promise<void>
  /** All that the terminal received, once watch has ended. */
  readonly output: Promise<string>
  stop(): void
}

/** Starts watch on a terminal, for this process and all that it starts, until it has shown count exchanges. */
const startWatch = (count: number): Watching => {
  const limits = ['--count', String(count), '--timeout', watchTimeout, '--max-body', '1M']
  const words = [checkout.node, checkout.agent, 'watch', '--pid', String(process.pid), ...limits]
  const child = spawn('script', ['-qefc', words.join(' '), '/dev/null'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TERM: 'xterm-256color', LANG: 'C.UTF-8' },
  })
  const ready = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<string>()
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    output += piece
    if (columnTitles.test(output)) ready.resolve()
  })
  child.once('error', () => ready.reject(new CannotRun('script(1) of util-linux is not here')))
  child.once('close', () => {
    ready.reject(new Error(`watch ended before it could watch: ${JSON.stringify(output)}`))
    ended.resolve(output)
  })
  return { ready: ready.promise, output: ended.promise, stop: () => void child.kill() }
}

const checkTerminal = ({ cell }: SuiteContext, scene: Scene): Promise<boolean> =>
  cell('watch on a terminal: no order from captured bytes', async () => {
    const prefix = freshPrefix('terminal')
    const expected = 2 * hostileBodies.length
    const watching = startWatch(expected)
    let output: string
    try {
      await watching.ready
      for (let index = 0; index < hostileBodies.length; index += 1) {
        await sendPlan(scene.server, planOf(scene, prefix, index))
      }
      output = await watching.output
    } finally {
      watching.stop()
    }
    const lines = output.split('\n').filter((line) => line.includes(prefix))
    assert.equal(lines.length, expected, output.slice(-outputTailChars))
    assert.ok(output.includes('DROP TABLE cleartap.requests'), 'no bodies')
    const found = unsafe.exec(output.replace(ownColors, ''))
    const around =
      found && JSON.stringify(output.replace(ownColors, '').slice(found.index - 80, found.index + 20))
    assert.equal(found, null, `an unsafe character in ${around}`)
    return `${lines.length} exchanges, ${output.length} characters`
  })

const runScene = async (context: SuiteContext, scene: Scene): Promise<void> => {
  const { stack } = scene
  const pids = [stack.pulse.pid, stack.controlplane.pid, stack.agent.pid]
  const canary = freshPrefix('canary')
  await sendPlan(scene.server, planOf(scene, canary, 0))
  const before = await waitForCount(scene, canary, 2, arrivalTimeoutMs)
  const definitions = await definitionsOf(stack)
  assert.ok(definitions.length > 0, 'no definitions of tables found')
  await checkExchanges(context, scene)
  await checkTerminal(context, scene)
  await context.cell('nothing was executed: same tables, same rows', async () => {
    assert.deepEqual(await definitionsOf(stack), definitions)
    assert.deepEqual(await waitForCount(scene, canary, 2, arrivalTimeoutMs), before)
    return `${definitions.length} definitions`
  })
  await context.cell('all parts are healthy, nothing was refused', () =>
    checkHealth(scene, pids).then(() => undefined),
  )
}

const run = async (context: SuiteContext): Promise<void> => {
  const stack = await startStack({ agent: { capture: { ignore: { exe: await programsOutsideTmp() } } } })
  try {
    const directory = join(stack.directory, 'raw')
    await mkdir(directory)
    const pythons: NamedPython[] = []
    for (const [number, name] of hostileNames.entries()) {
      pythons.push(await namePython(directory, number, name))
    }
    const server = await startRawServer(directory, at(pythons, serverName))
    const queries = openQueries(stack)
    try {
      await runScene(context, { stack, queries, server, pythons })
    } finally {
      queries.close()
      await server.program.stop()
    }
  } finally {
    await stack.stop()
  }
}

export const suite: Suite = {
  name: 'hostile',
  about: 'statements, escapes, binary in every place of an exchange and a process: stored, never executed',
  run,
}
