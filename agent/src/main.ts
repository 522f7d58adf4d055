#!/usr/bin/env node
/** Entry point of `cleartap watch`, `run` and `agent`. The only file of the agent that reads the environment. */
import { ConfigError } from '../../common/config/load.js'
import { ExitError, exitCodes } from '../../common/exit-codes.js'
import { createLogger } from '../../common/log.js'
import { runProgram } from './cli/program.js'
import { run } from './cli/run.js'
import type { Terminal } from './cli/terminal.js'
import { watch } from './cli/watch.js'

const say = (line: string) => void process.stderr.write(`cleartap: ${line}\n`)

const terminal: Terminal = {
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  logger: createLogger('agent', { level: 'warn', format: 'text' }),
  say,
}

process.exitCode = await runProgram(process.argv.slice(2), {
  watch: (options) => watch(options, terminal),
  run: (command, args, options) => run(command, args, options, terminal),
  // Loaded when used: its client libraries would slow down the start of the other verbs.
  agent: async (options) => (await import('./cli/service.js')).runService(options, terminal),
}).catch(failed)

function failed(error: unknown): number {
  if (error instanceof ExitError) {
    say(error.message)
    return error.exitCode
  }
  if (error instanceof ConfigError) {
    process.stderr.write(`${error.message}\n`)
    return exitCodes.config
  }
  say(error instanceof Error ? (error.stack ?? error.message) : String(error))
  return exitCodes.failure
}
