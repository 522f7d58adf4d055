/** `cleartap controlplane [--config FILE]`: argv and environment in, control plane out. */
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { startAdminServer } from '../../common/admin-server.js'
import { ConfigError, loadConfig } from '../../common/config/load.js'
import { type ControlplaneConfig, controlplaneConfigSchema } from '../../common/config/schema.js'
import { ExitError, exitCodes } from '../../common/exit-codes.js'
import { Lifecycle, untilSignal } from '../../common/lifecycle.js'
import { createLogger, type Logger } from '../../common/log.js'
import { startTelemetry } from '../../common/telemetry.js'
import { startControlPlane } from './control-plane.js'

const command = new Command('cleartap controlplane')
  .description('Steers agents, answers REST calls, serves the web page.')
  .option('-c, --config <file>', 'configuration file (YAML); absent: the defaults')
  .allowExcessArguments(false)
  .exitOverride((error) => process.exit(error.exitCode === 0 ? exitCodes.ok : exitCodes.usage))

process.exitCode = await main(command.parse().opts<{ config?: string }>().config)

async function main(file: string | undefined): Promise<number> {
  let config: ControlplaneConfig
  try {
    config = loadConfig(controlplaneConfigSchema, file)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    return exitCodes.config
  }
  const logger = createLogger('controlplane', config.log)
  const lifecycle = new Lifecycle(logger)
  try {
    await run(config, logger, lifecycle)
    return exitCodes.ok
  } catch (error) {
    logger.error({ error }, 'the control plane cannot run')
    return error instanceof ExitError ? error.exitCode : exitCodes.failure
  } finally {
    await lifecycle.stop()
  }
}

/** Resolves when a signal asks to stop. */
async function run(config: ControlplaneConfig, logger: Logger, lifecycle: Lifecycle): Promise<void> {
  const telemetry = await startTelemetry('controlplane', process.env, logger)
  lifecycle.add('telemetry', () => telemetry.stop())
  const pageDirectory = fileURLToPath(new URL('../ui/', import.meta.url))
  const controlPlane = await startControlPlane({ config, env: process.env, logger, pageDirectory })
  lifecycle.add('control plane', controlPlane.stop)
  const { address, httpAddress, registry } = controlPlane
  await telemetry.exportMetrics(registry)
  const { listen } = config.admin
  const admin = await startAdminServer({ listen, registry, logger, notReady: () => undefined })
  lifecycle.add('admin', () => admin.stop())
  const ready = { service: 'controlplane', listen: address, http: httpAddress, admin: admin.address }
  process.stdout.write(`${JSON.stringify(ready)}\n`)
  const signal = await untilSignal()
  logger.info({ signal }, 'stopping')
}
