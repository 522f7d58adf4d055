/** The agent's command line as people use it: exit codes, what goes to which stream, run and watch for real. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkout } from '../../deploy/local/checkout.js'
import { withTemporaryDirectory } from '../directory.js'
import { CannotRun, type Suite, type SuiteContext } from '../suite.js'

const limitMs = 30_000

interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface Site {
  readonly url: string
  readonly certificate: string
}

const start = (args: readonly string[], wrapper: readonly string[] = []): ChildProcess => {
  const [command = process.execPath, ...rest] = [...wrapper, process.execPath, checkout.agent, ...args]
  return spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], timeout: limitMs })
}

const finish = async (child: ChildProcess): Promise<Finished> => {
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

const call = (...args: string[]): Promise<Finished> => finish(start(args))

/** Waits for a line on standard error, by which a verb says that its probes are in place. */
const untilSaid = async (child: ChildProcess, pattern: RegExp): Promise<string> => {
  const lines = createInterface({ input: child.stderr ?? process.stdin })
  for await (const line of lines) {
    if (pattern.test(line)) {
      child.stderr?.resume()
      return line
    }
  }
  throw new Error(`the program ended without saying ${pattern}`)
}

const startSite = async (directory: string): Promise<{ readonly site: Site; readonly server: Server }> => {
  const key = join(directory, 'key.pem')
  const certificate = join(directory, 'certificate.pem')
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', certificate, ...subject], {
    stdio: 'ignore',
  })
  const options = { key: readFileSync(key), cert: readFileSync(certificate) }
  const server = createServer(options, (request, response) => {
    response.writeHead(request.url === '/missing' ? 404 : 200, { 'content-type': 'text/plain' })
    response.end('hello from the site')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { site: { url: `https://127.0.0.1:${port}`, certificate }, server }
}

const curl = (site: Site, path: string): string[] => [
  'curl',
  '--silent',
  '--http1.1',
  '--cacert',
  site.certificate,
  site.url + path,
]

/** Not synchronously: the site is served by this process. */
const fetchOnce = async (site: Site, path: string): Promise<void> => {
  const [command = '', ...args] = curl(site, path)
  const [code] = (await once(spawn(command, args, { stdio: 'ignore', timeout: limitMs }), 'close')) as [
    number | null,
  ]
  assert.equal(code, 0, `${command} ${path} ended with ${code}`)
}

const parseLines = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))

const checkUsage = async ({ cell }: SuiteContext, directory: string): Promise<void> => {
  await cell('unknown flag: exit code 2 and a suggestion', async () => {
    const { code, stdout, stderr } = await call('watch', '--jsn')
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /unknown option '--jsn'[\s\S]*--json/)
    return stderr.split('\n')[0]
  })
  await cell('bad value: exit code 2 and what is accepted', async () => {
    const { code, stderr } = await call('watch', '--timeout', 'soon')
    assert.equal(code, 2)
    assert.match(stderr, /30s, 500ms or 5m/)
    return undefined
  })
  await cell('bad configuration: exit code 3, file:line:column, suggestion', async () => {
    const file = join(directory, 'bad.yaml')
    await writeFile(file, 'capture:\n  levl: full\n')
    const { code, stderr } = await call('agent', '--config', file)
    assert.equal(code, 3)
    assert.match(stderr, /bad\.yaml:2:3: unknown key "capture\.levl"; did you mean "level"\?/)
    return stderr.trim().slice(directory.length + 1)
  })
  await cell('absent configuration: exit code 3', async () => {
    const { code, stderr } = await call('agent', '--config', join(directory, 'no.yaml'))
    assert.equal(code, 3)
    assert.match(stderr, /does not exist/)
    return undefined
  })
  await cell('values that cannot work: exit code 3 and what is accepted', async () => {
    const file = join(directory, 'values.yaml')
    await writeFile(file, 'ring_bytes: 100000\nadmin:\n  listen: 127.0.0.1:99999\n')
    const { code, stderr } = await call('agent', '--config', file)
    assert.equal(code, 3)
    assert.match(stderr, /values\.yaml:1:1\d?: .*power of two/)
    assert.match(stderr, /values\.yaml:3:\d+: .*HOST:PORT/)
    return undefined
  })
  await cell('secret that is not there: exit code 3, one line', async () => {
    const file = join(directory, 'secret.yaml')
    const keys = 'access_key_id: {env: NOT_SET}, secret_access_key: {env: NOT_SET}'
    await writeFile(file, `data_dir: ${directory}/d\nstores: [{type: s3, bucket: abc, ${keys}}]\n`)
    const { code, stderr } = await call('agent', '--config', file)
    assert.equal(code, 3, stderr)
    assert.match(stderr, /environment variable NOT_SET is not set/)
    return undefined
  })
  await cell('watch of a process that is not there: exit code 2', async () => {
    const { code, stderr } = await call('watch', '--pid', '4194303')
    assert.equal(code, 2)
    return stderr.trim()
  })
  await cell('no capabilities: exit code 4, one line', async () => {
    const drop = ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all']
    const { code, stdout, stderr } = await finish(start(['watch'], drop))
    assert.equal(code, 4, stderr)
    assert.equal(stdout, '')
    assert.equal(stderr.trim().split('\n').length, 1)
    assert.match(stderr, /CAP_BPF/)
    return stderr.trim()
  })
}

const checkRun = async ({ cell }: SuiteContext, site: Site, directory: string): Promise<void> => {
  await cell('run: the exchange on stderr, the command’s stdout untouched', async () => {
    const { code, stdout, stderr } = await call('run', '--', ...curl(site, '/a?b=c'))
    assert.equal(code, 0, stderr)
    assert.equal(stdout, 'hello from the site')
    assert.ok(stderr.includes(`GET     200`) && stderr.includes(`${site.url}/a?b=c`), stderr)
    assert.match(stderr, /1 exchange on 1 connection, .*, 0B lost/)
    return stderr.split('\n').find((line) => line.includes(site.url))
  })
  await cell('run --json -w -: one line that parses, bodies included', async () => {
    const args = [
      'run',
      '--json',
      '--max-body',
      '1k',
      '-w',
      '-',
      '--',
      ...curl(site, '/missing'),
      '-o',
      '/dev/null',
    ]
    const { code, stdout } = await call(...args)
    assert.equal(code, 0)
    const [line, ...more] = parseLines(stdout)
    assert.deepEqual(more, [])
    assert.equal(line?.['url'], `${site.url}/missing`)
    assert.equal(line?.['status'], 404)
    assert.deepEqual(line?.['response'] && Reflect.get(line['response'], 'body'), {
      size: 19,
      text: 'hello from the site',
    })
    return undefined
  })
  await cell('run -w FILE: readable by its owner only', async () => {
    const file = join(directory, 'lines')
    assert.equal((await call('run', '-w', file, '--', ...curl(site, '/'))).code, 0)
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    assert.match(await readFile(file, 'utf8'), /curl .* GET /)
    return undefined
  })
  await cell('run: children of children, nothing of others', async () => {
    const other = spawn('sh', ['-c', `sleep 1; ${curl(site, '/other').join(' ')}`], { stdio: 'ignore' })
    const inner = `sleep 2; ${curl(site, '/inner').join(' ')}; true`
    const { stderr } = await call('run', '--', 'sh', '-c', inner)
    if (other.exitCode === null) await once(other, 'exit')
    assert.ok(stderr.includes('/inner'), stderr)
    assert.ok(!stderr.includes('/other'), stderr)
    return undefined
  })
  for (const [name, expected, ...command] of [
    ['exit code', 42, 'sh', '-c', 'exit 42'],
    ['signal', 143, 'sh', '-c', 'kill -TERM $$'],
    ['command not found', 127, 'cleartap-no-such-command'],
  ] as const) {
    await cell(`run passes on: ${name}`, async () => {
      assert.equal((await call('run', '--', ...command)).code, expected)
      return String(expected)
    })
  }
}

const checkWatch = async ({ cell }: SuiteContext, site: Site): Promise<void> => {
  await cell('watch --json --pid -c 2: both ends of one request', async () => {
    const child = start(['watch', '--json', '--pid', String(process.pid), '-c', '2'])
    const startedMs = performance.now()
    const finished = finish(child)
    const said = await untilSaid(child, /watching \d+ TLS librar/)
    const readyMs = performance.now() - startedMs
    await fetchOnce(site, '/watched')
    const { code, stdout } = await finished
    assert.equal(code, 0)
    const lines = parseLines(stdout).filter(({ url }) => url === `${site.url}/watched`)
    const directions = lines.map(({ peer }) => (peer as { direction: string }).direction)
    assert.deepEqual(directions.toSorted(), ['egress', 'ingress'])
    assert.ok(readyMs < 3000, `ready after ${readyMs} ms`)
    return `${said}; ready after ${Math.round(readyMs)} ms`
  })
  await cell('watch --timeout: exit code 124, and 7 if nothing was seen', async () => {
    assert.equal((await call('watch', '--pid', String(process.pid), '--timeout', '200ms')).code, 124)
    const empty = ['watch', '--pid', String(process.pid), '--timeout', '200ms', '--fail-if-empty']
    assert.equal((await call(...empty)).code, 7)
    return undefined
  })
  await cell('watch: SIGINT ends with 130 and a summary', async () => {
    const child = start(['watch'])
    const finished = finish(child)
    await untilSaid(child, /watching/)
    child.kill('SIGINT')
    const { code, stderr } = await finished
    assert.equal(code, 130)
    assert.match(stderr, /\d+ exchanges? on \d+ connections?/)
    return undefined
  })
  await cell('watch: a reader that goes away ends it quietly', async () => {
    const child = start(['watch', '--no-headers'])
    const ended = once(child, 'exit')
    await untilSaid(child, /watching/)
    child.stdout?.destroy()
    for (let attempt = 0; attempt < 20 && child.exitCode === null; attempt += 1) {
      await fetchOnce(site, '/gone')
      await sleep(100)
    }
    assert.deepEqual(await ended, [0, null])
    return undefined
  })
}

const checkService = async ({ cell }: SuiteContext, site: Site, directory: string): Promise<void> => {
  await cell('agent: ready line, events on stdout, metrics, SIGTERM drains', async () => {
    const file = join(directory, 'agent.yaml')
    const lines = [`data_dir: ${join(directory, 'data')}`, 'admin: {listen: "127.0.0.1:0"}']
    await writeFile(file, [...lines, 'sinks: [{type: stdout}]', 'capture: {level: metadata}', ''].join('\n'))
    const child = start(['agent', '--config', file])
    const finished = finish(child)
    const ready = JSON.parse(await untilSaid(child, /"service":"agent"/))
    assert.match(ready.agentId, /^[0-9a-f-]{36}$/)
    assert.equal((await fetch(`http://${ready.admin}/readyz`)).status, 200)
    await fetchOnce(site, '/served')
    await sleep(500)
    const metrics = await (await fetch(`http://${ready.admin}/metrics`)).text()
    assert.match(metrics, /^cleartap_exchanges_total [1-9]/m)
    child.kill('SIGTERM')
    const { code, stdout, stderr } = await finished
    assert.equal(code, 0, stderr)
    assert.ok(
      parseLines(stdout).some((line) => JSON.stringify(line).includes('/served')),
      stdout,
    )
    return undefined
  })
}

export const suite: Suite = {
  name: 'cli',
  about: 'the agent’s command line: exit codes, streams, run, watch, agent',
  async run(context) {
    if (process.getuid?.() !== 0) throw new CannotRun('capturing needs root')
    await withTemporaryDirectory(async (directory) => {
      const { site, server } = await startSite(directory)
      try {
        await checkUsage(context, directory)
        await checkRun(context, site, directory)
        await checkWatch(context, site)
        await checkService(context, site, directory)
      } finally {
        server.closeAllConnections()
        server.close()
      }
    })
  },
}
