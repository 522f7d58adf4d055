/** Real HTTPS traffic on this machine: a server on Python's OpenSSL, and curl and Python as clients. */
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { checkout } from './checkout.js'
import type { Program } from './process.js'
import { startProgram } from './process.js'

export type ClientName = 'curl' | 'python'

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

interface Call {
  readonly method: string
  readonly url: string
  readonly caPath: string
  /** Absent: no body. */
  readonly bodyPath?: string
  readonly outputPath: string
}

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
    : ['--data-binary', `@${bodyPath}`, '--header', 'content-type: application/octet-stream']),
  ...['--header', 'expect:', url],
]

const commandOf = (client: ClientName, call: Call): readonly [string, readonly string[]] => {
  switch (client) {
    case 'curl':
      return ['curl', curlArgs(call)]
    case 'python': {
      const { method, url, caPath, bodyPath = '-', outputPath } = call
      return [checkout.python, [join(scripts, 'urllib_client.py'), method, url, caPath, bodyPath, outputPath]]
    }
  }
}

const runClient = async (client: ClientName, call: Call): Promise<number> => {
  const [command, args] = commandOf(client, call)
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-2000)
  })
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(`${client} ${call.url} ended with ${code ?? signal}: ${errors.trim()}`)
  return child.pid ?? 0
}

/** Posts request-SIZE to PREFIX/CLIENT/SIZE and checks that response-SIZE came back. */
export const sendBody = async (
  server: TlsServer,
  client: ClientName,
  size: number,
  prefix: string,
): Promise<SentRequest> => {
  const path = `${prefix}/${client}/${size}`
  const bodyPath = join(server.directory, `request-${size}`)
  const outputPath = join(server.directory, `output-${client}-${size}`)
  const call = { method: 'POST', url: `${server.url}${path}`, caPath: server.caPath, bodyPath, outputPath }
  await writeFile(outputPath, '')
  const clientPid = await runClient(client, call)
  const responseBody = await readFile(join(server.directory, `response-${size}`))
  if (!responseBody.equals(await readFile(outputPath)))
    throw new Error(`${client} received other bytes than sent`)
  return { client, clientPid, method: 'POST', path, requestBody: await readFile(bodyPath), responseBody }
}

/** Makes a GET of a path whose last part is a size of makeBodies, or any other for a 404; never throws. */
export const browse = async (server: TlsServer, client: ClientName, path: string): Promise<void> => {
  const outputPath = join(server.directory, `output-${client}`)
  const call = { method: 'GET', url: `${server.url}${path}`, caPath: server.caPath, outputPath }
  await runClient(client, call).catch(() => undefined)
}
