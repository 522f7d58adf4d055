/**
 * The S3 server of the local stack against what Cleartap needs of any bucket: signatures that are checked, CORS,
 * streamed uploads stored byte for byte, ranges, lifecycle rules.
 */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  GetBucketLifecycleConfigurationCommand,
  GetObjectCommand,
  PutBucketLifecycleConfigurationCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import type { S3Server } from '../../deploy/local/seaweedfs.js'
import { startSeaweed } from '../../deploy/local/seaweedfs.js'
import { withTemporaryDirectory } from '../directory.js'
import type { Suite, SuiteContext } from '../suite.js'

const origin = 'http://127.0.0.1:7411'
const key = 'v1/default/2026/11/23/object'

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const makeClient = (server: S3Server, secretAccessKey = server.credentials.secretAccessKey): S3Client =>
  new S3Client({
    endpoint: server.endpoint,
    region: server.region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: server.credentials.accessKeyId, secretAccessKey },
  })

const presign = (client: S3Client, bucket: string, expiresIn = 60): Promise<string> =>
  getSignedUrl(client, new GetObjectCommand({ Bucket: bucket, Key: key }), { expiresIn })

const expectStatus = async (response: Response, status: number): Promise<string> => {
  const text = await response.text()
  assert.equal(response.status, status, `got status ${response.status}: ${text.slice(0, 300)}`)
  return `${response.status} ${/<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? ''}`.trimEnd()
}

const checkUploads = async ({ cell }: SuiteContext, server: S3Server, client: S3Client): Promise<void> => {
  for (const size of [0, 1, 16_384, 1_048_576, 9_000_001]) {
    await cell(`streamed PUT of ${size} bytes, SDK defaults`, async () => {
      const bytes = randomBytes(size)
      const object = { Bucket: server.bucket, Key: `stream-${size}` }
      const body = Readable.from(chunks(bytes, 65_536), { objectMode: false })
      await client.send(new PutObjectCommand({ ...object, Body: body, ContentLength: size }))
      const stored = await client.send(new GetObjectCommand(object))
      const read = (await stored.Body?.transformToByteArray()) ?? new Uint8Array()
      assert.equal(read.length, size)
      assert.equal(sha256(read), sha256(bytes))
      return 'the same bytes came back'
    })
  }
}

function* chunks(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const checkSignatures = async (
  { cell }: SuiteContext,
  server: S3Server,
  client: S3Client,
  content: Buffer,
): Promise<void> => {
  const url = await presign(client, server.bucket)
  await cell('signed GET gives the object', async () => {
    const response = await fetch(url)
    assert.equal(response.status, 200)
    assert.equal(sha256(new Uint8Array(await response.arrayBuffer())), sha256(content))
    return '200, the same bytes'
  })
  await cell('signed GET of a range', async () => {
    const response = await fetch(url, { headers: { range: 'bytes=10-19' } })
    assert.equal(response.status, 206)
    assert.ok(content.subarray(10, 20).equals(Buffer.from(await response.arrayBuffer())))
    assert.equal(response.headers.get('content-range'), `bytes 10-19/${content.length}`)
    return '206'
  })
  await cell('unsigned GET is refused', async () =>
    expectStatus(await fetch(`${server.endpoint}/${server.bucket}/${key}`), 403),
  )
  await cell('URL signed with a wrong secret is refused', async () => {
    const stranger = makeClient(server, 'not-the-secret-not-the-secret')
    const forged = await presign(stranger, server.bucket)
    stranger.destroy()
    return expectStatus(await fetch(forged), 403)
  })
  await cell('URL with a changed signature is refused', async () => {
    const tampered = url.replace(
      /(X-Amz-Signature=)(.)/,
      (_, name: string, digit: string) => `${name}${digit === '0' ? '1' : '0'}`,
    )
    assert.notEqual(tampered, url)
    return expectStatus(await fetch(tampered), 403)
  })
  await cell('URL signed for another key is refused', async () =>
    expectStatus(await fetch(url.replace('/object?', '/other?')), 403),
  )
  await cell('URL with a prolonged life is refused', async () =>
    expectStatus(await fetch(url.replace('X-Amz-Expires=60', 'X-Amz-Expires=300')), 403),
  )
  await cell('expired URL is refused', async () => {
    const brief = await presign(client, server.bucket, 1)
    await expectStatus(await fetch(brief), 200)
    await sleep(2100)
    return expectStatus(await fetch(brief), 403)
  })
  await cell('unsigned PUT is refused', async () =>
    expectStatus(await fetch(`${server.endpoint}/${server.bucket}/x`, { method: 'PUT', body: 'x' }), 403),
  )
}

const checkCors = async ({ cell }: SuiteContext, server: S3Server, client: S3Client): Promise<void> => {
  const url = await presign(client, server.bucket)
  const preflight = (from: string, method: string): Promise<Response> =>
    fetch(url, {
      method: 'OPTIONS',
      headers: {
        origin: from,
        'access-control-request-method': method,
        'access-control-request-headers': 'range',
      },
    })
  await cell('CORS preflight of the page is allowed', async () => {
    const response = await preflight(origin, 'GET')
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('access-control-allow-origin'), origin)
    assert.match(response.headers.get('access-control-allow-methods') ?? '', /GET/)
    return `methods ${response.headers.get('access-control-allow-methods')}`
  })
  await cell('CORS preflight of another origin is not allowed', async () => {
    const response = await preflight('http://evil.example', 'GET')
    assert.equal(response.headers.get('access-control-allow-origin'), null)
    return `status ${response.status}`
  })
  await cell('CORS preflight of another method is not allowed', async () => {
    const response = await preflight(origin, 'DELETE')
    const allowed = response.headers.get('access-control-allow-methods') ?? ''
    assert.doesNotMatch(allowed, /DELETE|\*/)
    return `status ${response.status}, methods ${allowed}`
  })
  await cell('signed GET exposes ETag, Content-Range, Content-Length', async () => {
    const response = await fetch(url, { headers: { origin, range: 'bytes=0-0' } })
    assert.equal(response.headers.get('access-control-allow-origin'), origin)
    const exposed = (response.headers.get('access-control-expose-headers') ?? '').toLowerCase().split(/, */)
    for (const name of ['etag', 'content-range', 'content-length'])
      assert.ok(exposed.includes(name), `no ${name}`)
    return undefined
  })
}

const checkLifecycle = ({ cell }: SuiteContext, server: S3Server, client: S3Client): Promise<boolean> =>
  cell('lifecycle rule is accepted and read back', async () => {
    const rule = {
      ID: 'expire',
      Status: 'Enabled',
      Filter: { Prefix: 'v1/' },
      Expiration: { Days: 7 },
    } as const
    await client.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket: server.bucket,
        LifecycleConfiguration: { Rules: [rule] },
      }),
    )
    const { Rules } = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: server.bucket }))
    assert.equal(Rules?.length, 1)
    assert.equal(Rules[0]?.Expiration?.Days, 7)
    assert.equal(Rules[0]?.Filter?.Prefix, 'v1/')
    return '7 days under v1/'
  })

/** The internal ports must not be a way around signatures. */
const checkBackDoors = ({ cell }: SuiteContext, server: S3Server): Promise<boolean> =>
  cell('no other port of the server gives the object', async () => {
    let answers = 0
    for (const port of server.internalPorts) {
      for (const path of [`/buckets/${server.bucket}/${key}`, `/${server.bucket}/${key}`, '/buckets/']) {
        const response = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined)
        if (response === undefined) continue
        answers += 1
        const text = await response.text()
        assert.ok(
          response.status >= 400,
          `port ${port} answers ${path} with ${response.status}: ${text.slice(0, 80)}`,
        )
      }
    }
    assert.ok(answers > 0, 'no port answered at all, so nothing was proven')
    return `${answers} answers, all refused`
  })

const run = async (context: SuiteContext): Promise<void> =>
  withTemporaryDirectory(async (directory) => {
    const start = performance.now()
    const server = await startSeaweed({ directory, bucket: 'cleartap', corsOrigins: [origin] })
    const startMs = Math.round(performance.now() - start)
    const client = makeClient(server)
    try {
      await context.cell('server starts, makes the bucket, stores', () => `${startMs} ms`)
      const content = randomBytes(4096)
      await client.send(new PutObjectCommand({ Bucket: server.bucket, Key: key, Body: content }))
      await checkUploads(context, server, client)
      await checkSignatures(context, server, client, content)
      await checkCors(context, server, client)
      await checkLifecycle(context, server, client)
      await checkBackDoors(context, server)
    } finally {
      client.destroy()
      await server.stop()
    }
    await context.cell('server is gone after stop', () => {
      assert.equal(server.program.isRunning(), false)
      return undefined
    })
  })

export const suite: Suite = {
  name: 's3',
  about: 'the S3 server of the local stack: signatures, CORS, streamed uploads, lifecycle',
  run,
}
