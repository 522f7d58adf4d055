/** All of Cleartap on this machine: S3 server, Pulse, control plane, agent; on free ports of 127.0.0.1. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stopAll } from './process.js'
import type { S3Server } from './seaweedfs.js'
import { startSeaweed } from './seaweedfs.js'
import type { ConfigDocument } from './service.js'
import { Service } from './service.js'

export interface StackOptions {
  /** Added to the generated configuration; top-level keys replace generated ones. */
  readonly pulse?: ConfigDocument
  readonly controlplane?: ConfigDocument
  readonly agent?: ConfigDocument
  /** Added to the environment of Pulse, control plane and agent. */
  readonly env?: Readonly<Record<string, string>>
  /** Told what is being started, for people who wait. */
  readonly onProgress?: (step: string) => void
}

export interface Stack {
  /** Holds all data, configurations and logs; removed by stop. */
  readonly directory: string
  readonly s3: S3Server
  readonly pulse: Service
  readonly controlplane: Service
  readonly agent: Service
  /** Where the web page is. */
  readonly pageUrl: string
  /** Stops everything, agent first, and removes the directory. Later calls wait for the first. */
  stop(): Promise<void>
}

const ephemeral = '127.0.0.1:0'
const bucket = 'cleartap'
const secretVariables = { id: 'CLEARTAP_S3_ACCESS_KEY_ID', secret: 'CLEARTAP_S3_SECRET_ACCESS_KEY' } as const

const s3Settings = (s3: S3Server): ConfigDocument => ({
  endpoint: s3.endpoint,
  bucket: s3.bucket,
  region: s3.region,
  force_path_style: true,
  access_key_id: { env: secretVariables.id },
  secret_access_key: { env: secretVariables.secret },
})

const secretsOf = (s3: S3Server): Readonly<Record<string, string>> => ({
  [secretVariables.id]: s3.credentials.accessKeyId,
  [secretVariables.secret]: s3.credentials.secretAccessKey,
})

const pulseConfig = (directory: string): ConfigDocument => ({
  data_dir: join(directory, 'pulse'),
  listen: ephemeral,
  admin: { listen: ephemeral },
})

const controlplaneConfig = (directory: string, s3: S3Server, pulse: Service): ConfigDocument => ({
  data_dir: join(directory, 'controlplane'),
  listen: ephemeral,
  http: { listen: ephemeral },
  admin: { listen: ephemeral },
  pulse: { address: pulse.address('listen') },
  stores: [s3Settings(s3)],
  heartbeat_interval_ms: 1000,
})

const agentConfig = (
  directory: string,
  s3: S3Server,
  pulse: Service,
  controlplane: Service,
): ConfigDocument => ({
  data_dir: join(directory, 'agent'),
  admin: { listen: ephemeral },
  sinks: [{ type: 'pulse', address: pulse.address('listen') }],
  stores: [{ type: 's3', ...s3Settings(s3) }],
  control_plane: { address: controlplane.address('listen') },
})

/** Started so far, stopped in the reverse order. */
type Stops = (() => Promise<unknown>)[]

const startParts = async (
  directory: string,
  stops: Stops,
  options: StackOptions,
): Promise<Omit<Stack, 'stop' | 'directory'>> => {
  const say = options.onProgress ?? (() => undefined)
  say('S3 server (SeaweedFS)')
  const s3Directory = join(directory, 's3')
  await mkdir(s3Directory, { mode: 0o700 })
  const s3 = await startSeaweed({ directory: s3Directory, bucket, corsOrigins: [] })
  stops.push(() => s3.stop())
  say('Pulse with its own ClickHouse (chDB)')
  const pulse = await Service.start({
    name: 'pulse',
    directory,
    config: { ...pulseConfig(directory), ...options.pulse },
    env: { ...options.env },
  })
  stops.push(() => pulse.stop())
  say('control plane')
  const controlplane = await Service.start({
    name: 'controlplane',
    directory,
    config: { ...controlplaneConfig(directory, s3, pulse), ...options.controlplane },
    env: { ...options.env, ...secretsOf(s3) },
  })
  stops.push(() => controlplane.stop())
  const pageUrl = `http://${controlplane.address('http')}/`
  await s3.allowOrigins([new URL(pageUrl).origin])
  say('agent')
  const agent = await Service.start({
    name: 'agent',
    directory,
    config: { ...agentConfig(directory, s3, pulse, controlplane), ...options.agent },
    env: { ...options.env, ...secretsOf(s3) },
  })
  stops.push(() => agent.stop())
  return { s3, pulse, controlplane, agent, pageUrl }
}

/** Starts all parts in order; if one fails, those before it are stopped and its error is thrown. */
export const startStack = async (options: StackOptions = {}): Promise<Stack> => {
  const directory = await mkdtemp(join(tmpdir(), 'cleartap-local-'))
  const stops: Stops = [() => rm(directory, { recursive: true, force: true })]
  try {
    const parts = await startParts(directory, stops, options)
    let stopped: Promise<void> | undefined
    const stop = (): Promise<void> => {
      stopped ??= stopAll(stops)
      return stopped
    }
    return { directory, ...parts, stop }
  } catch (error) {
    await stopAll(stops)
    throw error
  }
}
