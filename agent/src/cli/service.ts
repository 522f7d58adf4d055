import { loadConfig } from '../../../common/config/load.js'
import { agentConfigSchema } from '../../../common/config/schema.js'
import { exitCodes } from '../../../common/exit-codes.js'
import { Lifecycle, untilSignal } from '../../../common/lifecycle.js'
import { createLogger } from '../../../common/log.js'
import { startTelemetry } from '../../../common/telemetry.js'
import { startAgent } from '../agent.js'
import type { AgentOptions } from './options.js'
import type { Terminal } from './terminal.js'

/** Longest time a part may take to stop; the spool keeps what could not be sent. */
const stopStepMs = 15_000

/** Runs the agent as a service until SIGTERM or SIGINT, then drains it. */
export async function runService(options: AgentOptions, terminal: Terminal): Promise<number> {
  const config = loadConfig(agentConfigSchema, options.config)
  const logger = createLogger('agent', config.log)
  const lifecycle = new Lifecycle(logger, stopStepMs)
  try {
    const telemetry = await startTelemetry('agent', terminal.env, logger)
    lifecycle.add('telemetry', () => telemetry.stop())
    const agent = await startAgent({ config, env: terminal.env, logger, lifecycle, stdout: process.stdout })
    await telemetry.exportMetrics(agent.registry)
    const ready = JSON.stringify({ service: 'agent', admin: agent.admin, agentId: agent.agentId })
    const isStdoutTaken = [...config.sinks, ...config.stores].some(({ type }) => type === 'stdout')
    const stream = isStdoutTaken ? process.stderr : process.stdout
    stream.write(`${ready}\n`)
    const signal = await untilSignal()
    logger.info({ signal }, 'stopping')
    return signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.ok
  } finally {
    await lifecycle.stop()
  }
}
