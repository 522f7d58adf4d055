/** `cleartap pulse [--config FILE]`: argv and environment in, Pulse out. */
import { Command } from 'commander'
import { ConfigError, loadConfig } from '../../common/config/load.js'
import { pulseConfigSchema } from '../../common/config/schema.js'
import { ExitError, exitCodes } from '../../common/exit-codes.js'
import { untilSignal } from '../../common/lifecycle.js'
import { createLogger } from '../../common/log.js'
import { startTelemetry } from '../../common/telemetry.js'
import { startPulse } from './pulse.js'

const command = new Command('cleartap pulse')
  .description('Takes events from agents, stores them in ClickHouse, and answers questions about them.')
  .option('-c, --config <file>', 'configuration file (YAML); absent: the defaults')
  .allowExcessArguments(false)
  .exitOverride((error) => process.exit(error.exitCode === 0 ? exitCodes.ok : exitCodes.usage))

process.exitCode = await main(command.parse().opts<{ config?: string }>().config)

async function main(file: string | undefined): Promise<number> {
  let config: ReturnType<typeof readConfig>
  try {
    config = readConfig(file)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    return exitCodes.config
  }
  const logger = createLogger('pulse', config.log)
  const telemetry = await startTelemetry('pulse', process.env, logger)
  try {
    const pulse = await startPulse(config, logger, process.env)
    await telemetry.exportMetrics(pulse.registry)
    process.stdout.write(
      `${JSON.stringify({ service: 'pulse', listen: pulse.listen, admin: pulse.admin })}\n`,
    )
    const signal = await untilSignal()
    logger.info({ signal }, 'stopping')
    await pulse.stop()
    return exitCodes.ok
  } catch (error) {
    logger.error({ error }, 'pulse cannot run')
    return error instanceof ExitError ? error.exitCode : exitCodes.failure
  } finally {
    await telemetry.stop()
  }
}

function readConfig(file: string | undefined) {
  return loadConfig(pulseConfigSchema, file)
}
