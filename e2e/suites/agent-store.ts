/**
 * The agent's S3 store against a real S3 server: what it puts is there, byte for byte, what is refused is said,
 * and a store that is behind does not hold up events.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { checkout } from '../../deploy/local/checkout.js'
import { type S3Server, startSeaweed } from '../../deploy/local/seaweedfs.js'
import { withTemporaryDirectory } from '../directory.js'
import { checkStoreFlood } from '../store-flood.js'
import type { Suite, SuiteContext } from '../suite.js'

const probe = join(checkout.root, 'dist', 'agent', 'src', 'stores', 'store-probe.js')
const sizes = [0, 1, 16_384, 70_000, 9_000_001]

interface ProbeReport {
  readonly results: readonly string[]
  readonly keys: readonly string[]
  readonly stats: Readonly<Record<string, number>>
}

const put = async (
  server: S3Server,
  secret: string,
  objectSizes: readonly number[],
): Promise<ProbeReport> => {
  const child = spawn(checkout.node, [probe], { stdio: ['pipe', 'pipe', 'inherit'] })
  const order = {
    store: {
      type: 's3',
      endpoint: server.endpoint,
      bucket: server.bucket,
      region: server.region,
      access_key_id: { env: 'ID' },
      secret_access_key: { env: 'SECRET' },
    },
    secrets: { ID: server.credentials.accessKeyId, SECRET: secret },
    sizes: objectSizes,
    contentType: 'text/html',
  }
  try {
    child.stdin.end(JSON.stringify(order))
    return JSON.parse(await text(child.stdout)) as ProbeReport
  } finally {
    child.kill('SIGKILL')
  }
}

const checkContents = async ({ cell }: SuiteContext, server: S3Server): Promise<void> => {
  const { accessKeyId, secretAccessKey } = server.credentials
  const client = new S3Client({
    endpoint: server.endpoint,
    region: server.region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey },
  })
  try {
    await cell('objects of 0 bytes to 9 MB, each asked for twice', async () => {
      const { results, keys, stats } = await put(server, secretAccessKey, [...sizes, ...sizes])
      assert.deepEqual(new Set(results), new Set(['stored']))
      assert.equal(stats['storedObjects'], sizes.length)
      assert.equal(stats['deduplicated'], sizes.length)
      for (const [index, size] of sizes.entries()) {
        const stored = await client.send(new GetObjectCommand({ Bucket: server.bucket, Key: keys[index] }))
        const bytes = (await stored.Body?.transformToByteArray()) ?? new Uint8Array()
        const expected = Uint8Array.from({ length: size }, (_, at) => at % 251)
        assert.ok(Buffer.from(bytes).equals(expected), `object of ${size} bytes`)
        assert.equal(stored.ContentType, 'text/html')
        assert.equal(stored.ContentEncoding, undefined)
      }
      return 'stored once, the same bytes came back'
    })
  } finally {
    client.destroy()
  }
}

export const suite: Suite = {
  name: 'agent-store',
  about: 'the agent’s S3 store against a real S3 server',
  run: async (context) => {
    await withTemporaryDirectory(async (directory) => {
      const server = await startSeaweed({ directory, bucket: 'cleartap', corsOrigins: [] })
      try {
        await checkContents(context, server)
        await context.cell('a wrong secret is refused at once, not retried', async () => {
          const { results, stats } = await put(server, 'wrong', [5])
          assert.match(results[0] ?? '', /403 SignatureDoesNotMatch/)
          assert.deepEqual([stats['failed'], stats['retries']], [1, 0])
          return '403'
        })
      } finally {
        await server.stop()
      }
    })
    await checkStoreFlood(context)
  },
}
