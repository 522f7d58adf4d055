/**
 * Signed downloads, end to end: the control plane signs for a real S3 server, which gives the object to the holder
 * of the URL, byte for byte, and to nobody else.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { ClientError, Status } from 'nice-grpc'
import { connect, createRpcClient } from '../../common/grpc-client.js'
import { detailsOf } from '../../common/grpc-error.js'
import { checkout } from '../../deploy/local/checkout.js'
import { type Program, startProgram, stopAll } from '../../deploy/local/process.js'
import { type S3Server, startSeaweed } from '../../deploy/local/seaweedfs.js'
import { ObjectServiceDefinition } from '../../gen/cleartap/controlplane/v1/objects.js'
import { withTemporaryDirectory } from '../directory.js'
import type { Suite, SuiteContext } from '../suite.js'

const readyTimeoutMs = 20_000

interface ControlPlane {
  readonly http: string
  readonly grpc: string
  readonly program: Program
}

interface StartOptions {
  /** Name of its files in the directory. */
  readonly name: string
  readonly secretAccessKey?: string
  /** How far the program's clock is behind. */
  readonly clockBehindMs?: number
}

interface Stack {
  readonly server: S3Server
  readonly key: string
  readonly content: Buffer
}

async function startControlPlane(
  directory: string,
  server: S3Server,
  options: StartOptions,
): Promise<ControlPlane> {
  const { name, secretAccessKey = server.credentials.secretAccessKey, clockBehindMs = 0 } = options
  const config = join(directory, `${name}.yaml`)
  const listen = '127.0.0.1:0'
  const store = {
    name: 'default',
    endpoint: 'http://127.0.0.1:9',
    public_endpoint: server.endpoint,
    bucket: server.bucket,
    region: server.region,
    access_key_id: { env: 'E2E_ACCESS_KEY_ID' },
    secret_access_key: { env: 'E2E_SECRET_ACCESS_KEY' },
  }
  const settings = {
    data_dir: join(directory, name),
    log: { level: 'debug' },
    listen,
    http: { listen },
    admin: { listen },
    stores: [store],
  }
  await writeFile(config, JSON.stringify(settings))
  const shift = `const now = Date.now; Date.now = () => now() - ${clockBehindMs}`
  const program = await startProgram({
    name: `control plane (${name})`,
    command: checkout.node,
    args: [
      `--import=data:text/javascript,${encodeURIComponent(shift)}`,
      checkout.controlplane,
      '--config',
      config,
    ],
    env: {
      E2E_ACCESS_KEY_ID: server.credentials.accessKeyId,
      E2E_SECRET_ACCESS_KEY: secretAccessKey,
    },
    logPath: join(directory, `${name}.log`),
  })
  const ready = await program.ready(readyTimeoutMs)
  return { http: String(ready['http']), grpc: String(ready['listen']), program }
}

async function sign({ http }: ControlPlane, key: string): Promise<string> {
  const response = await fetch(`http://${http}/api/v1/object-urls`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ store: 'default', key }),
  })
  const text = await response.text()
  assert.equal(response.status, 200, text)
  return Object(JSON.parse(text)).url
}

async function expectRefused(url: string, init?: RequestInit): Promise<string> {
  const response = await fetch(url, init)
  const text = await response.text()
  assert.equal(response.status, 403, `got ${response.status}: ${text.slice(0, 300)}`)
  return `403 ${/<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? ''}`.trimEnd()
}

async function expectObject(url: string, content: Buffer): Promise<string> {
  const response = await fetch(url)
  const bytes = Buffer.from(await response.arrayBuffer())
  assert.equal(response.status, 200, bytes.toString('utf8', 0, 300))
  assert.ok(bytes.equals(content), `${bytes.length} bytes that differ`)
  assert.equal(response.headers.get('content-disposition'), 'attachment')
  assert.equal(response.headers.get('content-type'), 'application/octet-stream')
  return `${bytes.length} bytes, the same`
}

const checkDownload = async ({ cell }: SuiteContext, plane: ControlPlane, stack: Stack): Promise<void> => {
  await cell('signed by REST: the object, byte for byte, as an inert attachment', async () =>
    expectObject(await sign(plane, stack.key), stack.content),
  )
  const channel = connect(plane.grpc)
  const objects = createRpcClient(ObjectServiceDefinition, channel)
  await cell('signed by gRPC: the same', async () => {
    const { url } = await objects.getDownloadUrl({ key: stack.key, validFor: { seconds: 300n, nanos: 0 } })
    assert.match(url, /X-Amz-Expires=300/)
    return expectObject(url, stack.content)
  })
  await cell('unknown store, foreign key, too long a life: refused by gRPC with details', async () => {
    const refuse = async (request: { store?: string; key: string; validFor?: { seconds: bigint } }) => {
      const error: unknown = await objects.getDownloadUrl(request).catch((reason: unknown) => reason)
      assert.ok(error instanceof ClientError, `got ${String(error)}`)
      return `${Status[error.code]} ${detailsOf(error)?.reason}`
    }
    assert.equal(await refuse({ store: 'other', key: stack.key }), 'NOT_FOUND STORE_UNKNOWN')
    assert.equal(await refuse({ key: 'v1/../secret' }), 'INVALID_ARGUMENT INVALID_MESSAGE')
    assert.equal(
      await refuse({ key: stack.key, validFor: { seconds: 301n } }),
      'INVALID_ARGUMENT INVALID_MESSAGE',
    )
    return undefined
  })
  channel.close()
}

const checkRefusals = async (
  context: SuiteContext,
  directory: string,
  plane: ControlPlane,
  stack: Stack,
): Promise<void> => {
  const { server, key } = stack
  const url = await sign(plane, key)
  await context.cell('unsigned: refused', () => expectRefused(`${server.endpoint}/${server.bucket}/${key}`))
  await context.cell('changed signature: refused', () =>
    expectRefused(
      url.replace(
        /(X-Amz-Signature=)(.)/,
        (_, name: string, digit: string) => name + (digit === '0' ? '1' : '0'),
      ),
    ),
  )
  await context.cell('signature for another key: refused', () =>
    expectRefused(url.replace(key, `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`)),
  )
  await context.cell('prolonged life: refused', () =>
    expectRefused(url.replace('X-Amz-Expires=60', 'X-Amz-Expires=300')),
  )
  await context.cell('changed disposition or type: refused', async () => {
    const inline = url.replace('disposition=attachment', 'disposition=inline')
    assert.notEqual(inline, url)
    await expectRefused(inline)
    return expectRefused(url.replace('application%2Foctet-stream', 'text%2Fhtml'))
  })
  await context.cell('other method: refused', () => expectRefused(url, { method: 'DELETE' }))
  await checkOtherSigners(context, directory, stack)
}

/** Control planes with a wrong secret, and with a clock that makes their URLs old. */
const checkOtherSigners = async (
  { cell }: SuiteContext,
  directory: string,
  { server, key, content }: Stack,
): Promise<void> => {
  const attempt = async (options: StartOptions, check: (url: string) => Promise<string>): Promise<string> => {
    const plane = await startControlPlane(directory, server, options)
    try {
      return await check(await sign(plane, key))
    } finally {
      await plane.program.stop()
    }
  }
  await cell('signed with a wrong secret: refused', () =>
    attempt({ name: 'stranger', secretAccessKey: randomBytes(30).toString('hex') }, (url) =>
      expectRefused(url),
    ),
  )
  await cell('signed 50 s ago for 60 s: the object', () =>
    attempt({ name: 'late', clockBehindMs: 50_000 }, (url) => expectObject(url, content)),
  )
  await cell('signed 62 s ago for 60 s: refused', () =>
    attempt({ name: 'expired', clockBehindMs: 62_000 }, (url) => expectRefused(url)),
  )
}

const checkBrowser = async ({ cell }: SuiteContext, plane: ControlPlane, stack: Stack): Promise<void> => {
  const origin = `http://${plane.http}`
  await cell('CORS preflight from the page: allowed', async () => {
    await stack.server.allowOrigins([origin])
    const headers = { origin, 'access-control-request-method': 'GET' }
    const response = await fetch(await sign(plane, stack.key), { method: 'OPTIONS', headers })
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('access-control-allow-origin'), origin)
    return undefined
  })
  await cell('the page’s Content-Security-Policy allows the bucket', async () => {
    const response = await fetch(`${origin}/api/v1/agents`)
    const policy = response.headers.get('content-security-policy') ?? ''
    const sources = /connect-src ([^;]+)/.exec(policy)?.[1]?.split(' ')
    assert.deepEqual(sources, ["'self'", new URL(stack.server.endpoint).origin])
    return undefined
  })
}

const checkLog = ({ cell }: SuiteContext, plane: ControlPlane, stack: Stack): Promise<boolean> =>
  cell('no signature and no secret in the log', async () => {
    await sign(plane, stack.key)
    await fetch(`http://${plane.http}/api/v1/nothing`)
    const log = await readFile(plane.program.logPath, 'utf8')
    assert.ok(log.length > 0, 'the log is empty, so nothing was proven')
    assert.doesNotMatch(log, /X-Amz-|Signature=/)
    assert.equal(log.includes(stack.server.credentials.secretAccessKey), false)
    return `${log.length} characters`
  })

const store = async (server: S3Server): Promise<Stack> => {
  const content = randomBytes(300_001)
  const key = `v1/default/2026/11/23/${createHash('sha256').update(content).digest('hex')}`
  const client = new S3Client({
    endpoint: server.endpoint,
    region: server.region,
    forcePathStyle: true,
    credentials: server.credentials,
  })
  try {
    const object = { Bucket: server.bucket, Key: key, Body: content, ContentType: 'text/html' }
    await client.send(new PutObjectCommand(object))
  } finally {
    client.destroy()
  }
  return { server, key, content }
}

const run = async (context: SuiteContext): Promise<void> =>
  withTemporaryDirectory(async (directory) => {
    const stops: (() => Promise<unknown>)[] = []
    try {
      const server = await startSeaweed({ directory, bucket: 'cleartap', corsOrigins: [] })
      stops.push(() => server.stop())
      const stack = await store(server)
      const plane = await startControlPlane(directory, server, { name: 'controlplane' })
      stops.push(() => plane.program.stop())
      await checkDownload(context, plane, stack)
      await checkRefusals(context, directory, plane, stack)
      await checkBrowser(context, plane, stack)
      await checkLog(context, plane, stack)
    } finally {
      await stopAll(stops)
    }
  })

export const suite: Suite = {
  name: 'object-urls',
  about: 'downloads signed by the control plane against a real S3 server',
  run,
}
