/** The part of the local stack that the page needs: S3 server, Pulse, control plane; no agent, so no other events. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { stopAll } from '../deploy/local/process.js'
import { type S3Server, startSeaweed } from '../deploy/local/seaweedfs.js'
import { Service } from '../deploy/local/service.js'

export interface PageStack {
  readonly s3: S3Server
  readonly pulse: Service
  readonly controlplane: Service
  /** Origin of the page, such as "http://127.0.0.1:40001". */
  readonly origin: string
  stop(): Promise<void>
}

const listen = '127.0.0.1:0'

/** Starts everything below an existing directory; if a part fails, those before it are stopped. */
export const startPageStack = async (directory: string): Promise<PageStack> => {
  const stops: (() => Promise<unknown>)[] = []
  try {
    const s3Directory = join(directory, 's3')
    await mkdir(s3Directory, { mode: 0o700 })
    const s3 = await startSeaweed({ directory: s3Directory, bucket: 'cleartap', corsOrigins: [] })
    stops.push(() => s3.stop())
    const pulse = await Service.start({
      name: 'pulse',
      directory,
      // Small blocks: rows reach the page in quick succession, as under load.
      config: {
        data_dir: join(directory, 'pulse'),
        listen,
        admin: { listen },
        ingest: { max_block_age_ms: 10 },
      },
    })
    stops.push(() => pulse.stop())
    const controlplane = await startControlPlane(directory, s3, pulse)
    stops.push(() => controlplane.stop())
    const origin = `http://${controlplane.address('http')}`
    await s3.allowOrigins([origin])
    return { s3, pulse, controlplane, origin, stop: () => stopAll(stops) }
  } catch (error) {
    await stopAll(stops)
    throw error
  }
}

const startControlPlane = (directory: string, s3: S3Server, pulse: Service): Promise<Service> =>
  Service.start({
    name: 'controlplane',
    directory,
    config: {
      data_dir: join(directory, 'controlplane'),
      listen,
      http: { listen },
      admin: { listen },
      pulse: { address: pulse.address('listen') },
      stores: [
        {
          endpoint: s3.endpoint,
          bucket: s3.bucket,
          region: s3.region,
          access_key_id: { env: 'E2E_S3_ID' },
          secret_access_key: { env: 'E2E_S3_SECRET' },
        },
      ],
    },
    env: { E2E_S3_ID: s3.credentials.accessKeyId, E2E_S3_SECRET: s3.credentials.secretAccessKey },
  })
