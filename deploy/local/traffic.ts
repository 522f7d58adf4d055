/** Real HTTPS traffic on this machine: a server on Python's OpenSSL, and curl, Python and Node as clients. */
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { checkout } from './checkout.js'
import type { Program } from './process.js'
import { startProgram } from './process.js'

export type ClientName = 'curl' | 'python' | 'requests' | 'asyncio' | 'node'

export interface TlsServer {
  readonly program: Program
  /** HOST:PORT. */
  readonly listen: string
  /** "https://127.0.0.1:PORT". */
  readonly url: string
  /** PEM file of the certificate that clients have to trust. */
  readonly caPath: string
  readonly directory: string
}

/** One request as it was really made: what capture must show. */
export interface SentRequest {
  readonly client: ClientName
  readonly clientPid: number
  readonly method: string
  /** Without query. */
  readonly path: string
  readonly requestBody: Uint8Array
  readonly responseBody: Uint8Array
}

const scripts = join(checkout.root, 'deploy', 'local', 'traffic')
const readyTimeoutMs = 15_000
const maxOutputChars = 10_000_000

/** Makes certificate.pem and key.pem (P-256, a day) for localhost and 127.0.0.1 with openssl(1). */
export const makeCertificate = async (directory: string): Promise<void> => {
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1'
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '1',
  ]
  const files = ['-keyout', join(directory, 'key.pem'), '-out', join(directory, 'certificate.pem')]
  await promisify(execFile)('openssl', [...args, '-subj', '/CN=localhost', '-addext', names, ...files])
}

/** Starts the server; directory (existing) takes its certificate and the bodies of makeBodies. */
export const startTlsServer = async (directory: string): Promise<TlsServer> => {
  await makeCertificate(directory)
  const program = await startProgram({
    name: 'HTTPS server (Python)',
    command: checkout.python,
    args: [join(scripts, 'server.py'), directory],
    logPath: join(directory, 'server.log'),
  })
  const { listen } = await program.ready(readyTimeoutMs)
  if (typeof listen !== 'string') throw new Error('the HTTPS server named no address')
  return {
    program,
    listen,
    url: `https://${listen}`,
    caPath: join(directory, 'certificate.pem'),
    directory,
  }
}

/** Random bodies of these sizes: request-SIZE for clients, response-SIZE for the server. */
export const makeBodies = async (directory: string, sizes: readonly number[]): Promise<void> => {
  for (const size of sizes) {
    await writeFile(join(directory, `request-${size}`), randomBytes(size))
    await writeFile(join(directory, `response-${size}`), randomBytes(size))
  }
}

/** A pair of bodies by name, such as "order.json"; the name's ending tells the media type. */
export const makeBody = async (
  directory: string,
  name: string,
  request: string,
  response: string,
): Promise<void> => {
  await writeFile(join(directory, `request-${name}`), request)
  await writeFile(join(directory, `response-${name}`), response)
}

interface Call {
  readonly method: string
  readonly url: string
  readonly caPath: string
  /** Absent: no body. */
  readonly bodyPath?: string
  readonly outputPath: string
}

const mediaType = (path: string): string =>
  path.endsWith('.json') ? 'application/json' : 'application/octet-stream'

const curlArgs = ({ method, url, caPath, bodyPath, outputPath }: Call): string[] => [
  '--silent',
  '--show-error',
  '--fail',
  '--http1.1',
  '--noproxy',
  '*',
  ...['--max-time', '30', '--cacert', caPath, '--request', method, '--output', outputPath],
  ...(bodyPath === undefined
    ? []
    : ['--data-binary', `@${bodyPath}`, '--header', `content-type: ${mediaType(bodyPath)}`]),
  ...['--header', 'expect:', url],
]

const scriptArgs = ({ method, url, caPath, bodyPath = '-', outputPath }: Call): string[] => [
  method,
  url,
  caPath,
  bodyPath,
  outputPath,
]

const commandOf = (client: ClientName, call: Call): readonly [string, readonly string[]] => {
  switch (client) {
    case 'curl':
      return ['curl', curlArgs(call)]
    case 'python':
      return [checkout.python, [join(scripts, 'urllib_client.py'), ...scriptArgs(call)]]
    case 'requests':
      return [checkout.python, [join(scripts, 'requests_client.py'), ...scriptArgs(call)]]
    case 'asyncio':
      return [checkout.python, [join(scripts, 'asyncio_client.py'), ...scriptArgs(call)]]
    case 'node':
      return [checkout.node, [join(scripts, 'https_client.mjs'), ...scriptArgs(call)]]
  }
}

interface Finished {
  readonly pid: number
  readonly stdout: string
}

const run = async (command: string, args: readonly string[]): Promise<Finished> => {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] = (output[name] + text).slice(-maxOutputChars)
    })
  }
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(`${command} ended with ${code ?? signal}: ${output.stderr.trim()}`)
  return { pid: child.pid ?? 0, stdout: output.stdout }
}

/** What a client is to ask for. */
export interface Order {
  readonly method: 'GET' | 'POST'
  /** Its last part, before the query, is body. */
  readonly path: string
  /** Names the files request-BODY and response-BODY: a size of makeBodies or a name of makeBody. */
  readonly body: number | string
}

/** Makes one request by a process of its own and checks the answer. POST sends request-BODY. */
export const send = async (server: TlsServer, client: ClientName, order: Order): Promise<SentRequest> => {
  const { method, path, body } = order
  const bodyPath = join(server.directory, `request-${body}`)
  const outputPath = join(server.directory, `output-${client}-${body}`)
  const call = { method, url: `${server.url}${path}`, caPath: server.caPath, outputPath }
  await writeFile(outputPath, '')
  const [command, args] = commandOf(client, method === 'POST' ? { ...call, bodyPath } : call)
  const { pid } = await run(command, args)
  const responseBody = await readFile(join(server.directory, `response-${body}`))
  if (!responseBody.equals(await readFile(outputPath)))
    throw new Error(`${client} received other bytes than sent`)
  const requestBody = method === 'POST' ? await readFile(bodyPath) : Buffer.alloc(0)
  return { client, clientPid: pid, method, path: path.split('?')[0] ?? path, requestBody, responseBody }
}

/** Posts request-SIZE to PREFIX/CLIENT/SIZE. */
export const sendBody = (
  server: TlsServer,
  client: ClientName,
  size: number,
  prefix: string,
): Promise<SentRequest> =>
  send(server, client, { method: 'POST', path: `${prefix}/${client}/${size}`, body: size })

/** Asks for something that is not there; the client's failure is expected. */
export const miss = async (server: TlsServer, client: ClientName, path: string): Promise<void> => {
  const outputPath = join(server.directory, `output-${client}-missing`)
  const call = { method: 'GET', url: `${server.url}${path}`, caPath: server.caPath, outputPath }
  await run(...commandOf(client, call)).catch(() => undefined)
}

export interface KeepAliveRun {
  readonly clientPid: number
  /** Local port of each connection. */
  readonly ports: readonly number[]
}

/** How one process keeps many connections: a thread for each, or an event loop for all. */
export type KeepAliveClient = 'threads' | 'asyncio' | 'node'

const keepAliveCommands: Readonly<Record<KeepAliveClient, readonly [string, string]>> = {
  threads: [checkout.python, join(scripts, 'keepalive_client.py')],
  asyncio: [checkout.python, join(scripts, 'keepalive_asyncio_client.py')],
  node: [checkout.node, join(scripts, 'keepalive_https_client.mjs')],
}

/** Makes requests GETs on each of connections kept open, by one process, for PREFIX/CONNECTION/NUMBER/SIZE. */
export const sendOnKeptConnections = async (
  server: TlsServer,
  prefix: string,
  connections: number,
  requests: number,
  size: number,
  client: KeepAliveClient = 'threads',
): Promise<KeepAliveRun> => {
  const [command, script] = keepAliveCommands[client]
  const counts = [connections, requests, size].map(String)
  const { pid, stdout } = await run(command, [script, server.listen, server.caPath, prefix, ...counts])
  const { ports }: { ports: readonly number[] } = JSON.parse(stdout)
  return { clientPid: pid, ports }
}

export interface SteadyRequest {
  readonly path: string
  /** Unix time in milliseconds at which the client had the answer. */
  readonly endMs: number
}

/** GETs at a steady rate, each on a connection of its own, for PREFIX/NUMBER/SIZE; settles when all are answered. */
export const sendSteadily = async (
  server: TlsServer,
  prefix: string,
  seconds: number,
  perSecond: number,
  size: number,
): Promise<readonly SteadyRequest[]> => {
  const script = join(scripts, 'steady_client.py')
  const numbers = [seconds, perSecond, size].map(String)
  const { stdout } = await run(checkout.python, [script, server.listen, server.caPath, prefix, ...numbers])
  const { requests }: { requests: readonly (readonly [string, number])[] } = JSON.parse(stdout)
  return requests.map(([path, end]) => ({ path, endMs: end * 1000 }))
}
