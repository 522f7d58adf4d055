/** A real control plane in a directory of its own, for tests. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { controlplaneConfigSchema } from '../../common/config/schema.js'
import { createLogger } from '../../common/log.js'
import { type ControlPlane, startControlPlane } from './control-plane.js'

type ConfigInput = Parameters<typeof controlplaneConfigSchema.parse>[0]

/** Calls use with a fresh directory and removes it when that has settled. */
export async function withDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'cleartap-controlplane-'))
  try {
    return await use(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Starts a control plane on ports that the system chooses. Its log lines go to the array, if one is given. */
export function startForTest(
  dataDir: string,
  settings: Readonly<Record<string, unknown>> = {},
  logLines: string[] = [],
): Promise<ControlPlane> {
  const input: ConfigInput = {
    data_dir: dataDir,
    listen: '127.0.0.1:0',
    http: { listen: '127.0.0.1:0' },
    pulse: { address: '127.0.0.1:9' },
    reconnect_min_ms: 20,
    reconnect_max_ms: 200,
    heartbeat_interval_ms: 1000,
    ...settings,
  }
  const destination = { write: (line: string) => void logLines.push(line) }
  return startControlPlane({
    config: controlplaneConfigSchema.parse(input),
    env: { TEST_ACCESS_KEY: 'AKIDTEST', TEST_SECRET_KEY: 'not-a-real-secret' },
    logger: createLogger('controlplane', { level: 'debug', format: 'json', destination }),
    pageDirectory: join(dataDir, 'page'),
    pulseTimeoutMs: 500,
  })
}
