import { existsSync } from 'node:fs'
import { agentConfigSchema } from '../../../common/config/schema.js'
import { ExitError, exitCodes } from '../../../common/exit-codes.js'
import { untilSignal } from '../../../common/lifecycle.js'
import type { Exchange } from '../exchange/exchange.js'
import { type Observation, observe } from '../observe.js'
import { streamOutput } from './line-output.js'
import { type WatchOptions, wantsColor } from './options.js'
import { coverageLine, Printer, summary } from './printer.js'
import type { Terminal } from './terminal.js'

/** Prints exchanges until the count, the time, a signal, or the end of whoever reads. */
export async function watch(options: WatchOptions, terminal: Terminal): Promise<number> {
  const output = streamOutput(terminal.stdout)
  const printer = new Printer(output, options, wantsColor(options.color, output.isTerminal, terminal.env))
  const printing = new Printing(printer, options.count)
  const waiting = new AbortController()
  const interrupted = signalled(waiting.signal)
  const observation = await start(options, terminal, (exchange) => printing.take(exchange))
  printer.begin()
  terminal.say(coverageLine(observation.capture()))
  const timer = Promise.withResolvers<number>()
  const timeout = options.timeout && setTimeout(timer.resolve, options.timeout, exitCodes.timeout)
  try {
    const readerGone = output.closed.then(() => exitCodes.ok)
    const exitCode = await Promise.race([printing.done, readerGone, timer.promise, interrupted])
    await observation.stop()
    return printing.printed === 0 && options.failIfEmpty ? exitCodes.nothingMatched : exitCode
  } finally {
    clearTimeout(timeout)
    waiting.abort()
    await observation.stop()
    terminal.say(summary(observation.connections()))
  }
}

/** Counts what it prints, and ends at the limit. */
class Printing {
  printed = 0
  readonly done: Promise<number>
  readonly #printer: Printer
  readonly #count: number | undefined
  readonly #end = Promise.withResolvers<number>()

  constructor(printer: Printer, count: number | undefined) {
    this.#printer = printer
    this.#count = count
    this.done = this.#end.promise
    this.done.catch(() => {})
  }

  take(exchange: Exchange): void {
    if (this.printed === this.#count) return
    this.printed += 1
    try {
      this.#printer.print(exchange)
    } catch (error) {
      this.#end.reject(error)
    }
    if (this.printed === this.#count) this.#end.resolve(exitCodes.ok)
  }
}

function start(
  options: WatchOptions,
  terminal: Terminal,
  onExchange: (exchange: Exchange) => void,
): Promise<Observation> {
  const config = agentConfigSchema.parse({})
  const unknown = options.pid.filter((pid) => !existsSync(`/proc/${pid}`))
  if (unknown.length > 0) throw new ExitError(exitCodes.usage, `no process has pid ${unknown.join(', ')}`)
  return observe({
    targets: options.pid.length === 0 ? { mode: 'all' } : { mode: 'only', pids: options.pid },
    config: { ...config, capture: { ...config.capture, max_body_bytes: options.maxBody } },
    logger: terminal.logger,
    wantsBodies: true,
    onExchange,
    onConnectionPart: () => {},
  })
}

async function signalled(abort: AbortSignal): Promise<number> {
  try {
    return (await untilSignal(abort)) === 'SIGINT' ? exitCodes.interrupted : exitCodes.ok
  } catch (error) {
    if (abort.aborted) return exitCodes.ok
    throw error
  }
}
