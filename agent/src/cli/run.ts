import { agentConfigSchema } from '../../../common/config/schema.js'
import { ExitError, exitCodes } from '../../../common/exit-codes.js'
import type { Exchange } from '../exchange/exchange.js'
import { type Observation, observe } from '../observe.js'
import { type Child, startChild } from './child.js'
import { fileOutput, type LineOutput, streamOutput } from './line-output.js'
import { type RunOptions, wantsColor } from './options.js'
import { Printer, summary } from './printer.js'
import type { Terminal } from './terminal.js'

/**
 * Runs a command with its own standard streams, prints the exchanges of it and of what it starts, and resolves
 * with its exit code. Probes are in place before it starts.
 */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions,
  terminal: Terminal,
): Promise<number> {
  const output = openOutput(options, terminal)
  const printer = new Printer(output, options, wantsColor(options.color, output.isTerminal, terminal.env))
  const observation = await start(terminal, options.maxBody, (exchange) => {
    printGuarded(printer, exchange, terminal)
  })
  try {
    const child = await startChild(command, args, terminal.env)
    if (!('exited' in child)) {
      terminal.say(child.message)
      return child.exitCode
    }
    return await exitCodeOf(child)
  } finally {
    await observation.stop()
    terminal.say(summary(observation.connections()))
    output.close()
  }
}

function openOutput({ write }: RunOptions, terminal: Terminal): LineOutput {
  if (write === undefined) return streamOutput(terminal.stderr)
  if (write === '-') return streamOutput(terminal.stdout)
  try {
    return fileOutput(write)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ExitError(exitCodes.failure, `cannot write to ${write}: ${reason}`)
  }
}

/** The command's own life matters more than our lines: a full disk is said once and ends nothing. */
function printGuarded(printer: Printer, exchange: Exchange, terminal: Terminal): void {
  try {
    printer.print(exchange)
  } catch (error) {
    terminal.logger.error({ error }, 'cannot print an exchange')
  }
}

function start(
  terminal: Terminal,
  maxBodyBytes: number,
  onExchange: (exchange: Exchange) => void,
): Promise<Observation> {
  const config = agentConfigSchema.parse({})
  return observe({
    targets: { mode: 'children' },
    config: { ...config, capture: { ...config.capture, max_body_bytes: maxBodyBytes } },
    logger: terminal.logger,
    wantsBodies: true,
    onExchange,
    onConnectionPart: () => {},
  })
}

/**
 * Waits for the command. Ctrl-C reaches it from the terminal by itself, so SIGINT and SIGQUIT are only kept
 * from ending this process; SIGTERM and SIGHUP are sent on.
 */
async function exitCodeOf(child: Child): Promise<number> {
  const ignore = () => {}
  const forward = (name: NodeJS.Signals) => child.signal(name)
  const handlers = [
    ['SIGINT', ignore],
    ['SIGQUIT', ignore],
    ['SIGTERM', forward],
    ['SIGHUP', forward],
  ] as const
  for (const [name, handler] of handlers) process.on(name, handler)
  try {
    return await child.exited
  } finally {
    for (const [name, handler] of handlers) process.off(name, handler)
  }
}
