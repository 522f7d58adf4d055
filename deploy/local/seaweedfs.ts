/** A real S3 server on 127.0.0.1: SeaweedFS, all its parts in one process, its data in a directory of the caller. */
import { randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  PutBucketCorsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { checkout } from './checkout.js'
import { findFreePorts } from './ports.js'
import type { Program } from './process.js'
import { startProgram } from './process.js'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export interface SeaweedOptions {
  /** Existing directory, used by nobody else. */
  readonly directory: string
  readonly bucket: string
  /** Origins that browsers may read from, such as "http://127.0.0.1:7411", or "*". */
  readonly corsOrigins: readonly string[]
}

export interface S3Server {
  /** Such as "http://127.0.0.1:40001". */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  readonly credentials: S3Credentials
  /** Where the server's parts talk to each other; they need its internal keys. */
  readonly internalPorts: readonly number[]
  readonly program: Program
  /** Replaces the origins that browsers may read from. */
  allowOrigins(origins: readonly string[]): Promise<void>
  stop(): Promise<void>
}

/** Each takes two ports, for HTTP and for gRPC, in this order. */
const parts = ['master', 'volume', 'filer', 's3'] as const
const region = 'us-east-1'
const startTimeoutMs = 30_000
/** SeaweedFS waits for its own open streams and would not end by itself; what it acknowledged is in files by then. */
const stopGraceMs = 1000
/** Another process may take a chosen port before SeaweedFS does. */
const maxAttempts = 3

const makeCredentials = (): S3Credentials => ({
  accessKeyId: `CT${randomBytes(9).toString('hex').toUpperCase()}`,
  secretAccessKey: randomBytes(30).toString('base64url'),
})

const identities = ({ accessKeyId, secretAccessKey }: S3Credentials): string =>
  JSON.stringify({
    identities: [
      {
        name: 'cleartap',
        credentials: [{ accessKey: accessKeyId, secretKey: secretAccessKey }],
        actions: ['Admin', 'Read', 'Write', 'List', 'Tagging'],
      },
    ],
  })

/** Keys by which SeaweedFS's own parts trust each other; without them its filer serves every object unsigned. */
const internalKeys = (): Readonly<Record<string, string>> => {
  const names = ['JWT_SIGNING', 'JWT_SIGNING_READ', 'JWT_FILER_SIGNING', 'JWT_FILER_SIGNING_READ']
  return Object.fromEntries(names.map((name) => [`WEED_${name}_KEY`, randomBytes(24).toString('base64url')]))
}

const portFlags = (ports: readonly number[]): string[] => {
  const names = parts.flatMap((part) => [`${part}.port`, `${part}.port.grpc`])
  return names.map((name, index) => `-${name}=${ports[index]}`)
}

const serverArgs = (directory: string, dataDirectory: string, ports: readonly number[]): string[] => [
  '-logtostderr',
  'server',
  `-dir=${dataDirectory}`,
  '-ip=127.0.0.1',
  '-ip.bind=127.0.0.1',
  '-master.telemetry=false',
  '-master.volumeSizeLimitMB=128',
  '-volume.max=64',
  '-volume.preStopSeconds=0',
  '-filer',
  `-filer.localSocket=${join(directory, 'filer.sock')}`,
  '-s3',
  `-s3.config=${join(directory, 's3.json')}`,
  `-s3.localSocket=${join(directory, 's3.sock')}`,
  '-s3.port.iceberg=0',
  '-s3.port.lance=0',
  ...portFlags(ports),
]

/** SeaweedFS makes these beside its gRPC ports, in this fixed place, and leaves them when it is killed. */
const removeSockets = async (ports: readonly number[]): Promise<void> => {
  for (const [index, part] of parts.entries()) {
    await rm(`/tmp/seaweedfs-${part}-grpc-${ports[2 * index + 1]}.sock`, { force: true })
  }
}

const makeClient = (endpoint: string, credentials: S3Credentials): S3Client =>
  new S3Client({ endpoint, region, forcePathStyle: true, credentials, maxAttempts: 1 })

const putCors = (client: S3Client, bucket: string, origins: readonly string[]) =>
  client.send(
    new PutBucketCorsCommand({
      Bucket: bucket,
      CORSConfiguration: {
        CORSRules: [
          {
            AllowedOrigins: [...origins],
            AllowedMethods: ['GET', 'HEAD'],
            AllowedHeaders: ['*'],
            ExposeHeaders: ['ETag', 'Content-Range', 'Content-Length'],
            MaxAgeSeconds: 300,
          },
        ],
      },
    }),
  )

/** Repeats a step until it works; gives up when the program has ended or the time is up. */
const persist = async (program: Program, deadlineMs: number, step: () => Promise<unknown>): Promise<void> => {
  for (;;) {
    try {
      await step()
      return
    } catch (cause) {
      if (!program.isRunning() || performance.now() > deadlineMs) {
        const why = program.isRunning() ? 'does not serve in time' : 'ended while it started'
        throw new Error(`${program.name} ${why}; ${await program.describeLog()}`, { cause })
      }
    }
    await sleep(100)
  }
}

const prepareBucket = async (
  program: Program,
  client: S3Client,
  { bucket, corsOrigins }: SeaweedOptions,
): Promise<void> => {
  const deadlineMs = performance.now() + startTimeoutMs
  const probe = { Bucket: bucket, Key: 'start-probe' }
  await persist(program, deadlineMs, () => client.send(new CreateBucketCommand({ Bucket: bucket })))
  await persist(program, deadlineMs, () => client.send(new PutObjectCommand({ ...probe, Body: 'ready' })))
  await client.send(new DeleteObjectCommand(probe))
  if (corsOrigins.length > 0) await putCors(client, bucket, corsOrigins)
}

const startOnce = async (
  options: SeaweedOptions,
  credentials: S3Credentials,
  attempt: number,
): Promise<S3Server> => {
  const dataDirectory = join(options.directory, `data-${attempt}`)
  await mkdir(dataDirectory, { mode: 0o700 })
  const ports = await findFreePorts(8)
  const endpoint = `http://127.0.0.1:${ports[6]}`
  const program = await startProgram({
    name: 'S3 server (SeaweedFS)',
    command: checkout.weed,
    args: serverArgs(options.directory, dataDirectory, ports),
    env: internalKeys(),
    cwd: options.directory,
    logPath: join(options.directory, 'seaweedfs.log'),
  })
  const client = makeClient(endpoint, credentials)
  try {
    await prepareBucket(program, client, options)
  } catch (error) {
    client.destroy()
    await program.stop(0)
    await removeSockets(ports)
    throw error
  }
  return {
    endpoint,
    region,
    bucket: options.bucket,
    credentials,
    internalPorts: ports.filter((port) => port !== ports[6]),
    program,
    allowOrigins: async (origins) => {
      await putCors(client, options.bucket, origins)
    },
    stop: async () => {
      client.destroy()
      await program.stop(stopGraceMs)
      await removeSockets(ports)
    },
  }
}

/**
 * Starts the server with fresh random credentials (in a file of mode 0600, never in arguments), makes the bucket
 * and its CORS rule, and proves with one object that it stores. Throws with the end of its log if it does not.
 */
export const startSeaweed = async (options: SeaweedOptions): Promise<S3Server> => {
  const credentials = makeCredentials()
  await writeFile(join(options.directory, 's3.json'), identities(credentials), { mode: 0o600 })
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(options, credentials, attempt)
    } catch (error) {
      const portTaken = error instanceof Error && error.message.includes('address already in use')
      if (!portTaken || attempt === maxAttempts) throw error
    }
  }
}
