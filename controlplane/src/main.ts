/** Program: cleartap controlplane [--config FILE]. */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startAdminServer } from '../../common/admin-server.js'
import { ConfigError, loadConfig } from '../../common/config/load.js'
import { controlplaneConfigSchema } from '../../common/config/schema.js'
import { exitCodes } from '../../common/exit-codes.js'
import { Lifecycle, untilSignal } from '../../common/lifecycle.js'
import { createLogger } from '../../common/log.js'
import { startTelemetry } from '../../common/telemetry.js'
import { startControlPlane } from './control-plane.js'

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { config: { type: 'string' } } })
  const config = loadConfig(controlplaneConfigSchema, values.config)
  const logger = createLogger('controlplane', config.log)
  const lifecycle = new Lifecycle(logger)
  try {
    lifecycle.add('telemetry', await startTelemetry('controlplane', process.env))
    const pageDirectory = fileURLToPath(new URL('../ui/', import.meta.url))
    const controlPlane = await startControlPlane({ config, env: process.env, logger, pageDirectory })
    lifecycle.add('control plane', controlPlane.stop)
    const { listen } = config.admin
    const { registry } = controlPlane
    const admin = await startAdminServer({ listen, registry, logger, notReady: () => undefined })
    lifecycle.add('admin', () => admin.stop())
    const ready = {
      service: 'controlplane',
      listen: controlPlane.address,
      http: controlPlane.httpAddress,
      admin: admin.address,
    }
    process.stdout.write(`${JSON.stringify(ready)}\n`)
    const signal = await untilSignal()
    logger.info({ signal }, 'stopping')
    return exitCodes.ok
  } finally {
    await lifecycle.stop()
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`cleartap controlplane: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = error instanceof ConfigError ? exitCodes.config : exitCodes.failure
}
