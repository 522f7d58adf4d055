/** The command line of the agent: verbs, flags, help; what they do is given to it. */
import { Command, CommanderError, Option } from 'commander'
import { exitCodes } from '../../../common/exit-codes.js'
import { version } from '../../../common/version.js'
import {
  type AgentOptions,
  bytesOption,
  countOption,
  pidOption,
  type RunOptions,
  timeoutOption,
  type WatchOptions,
} from './options.js'

/** What the verbs do; each resolves with the program's exit code. */
export interface Verbs {
  watch(options: WatchOptions): Promise<number>
  run(command: string, args: readonly string[], options: RunOptions): Promise<number>
  agent(options: AgentOptions): Promise<number>
}

/** Parses the arguments (without the program's own names) and runs the verb. Wrong usage resolves with 2. */
export async function runProgram(argv: readonly string[], verbs: Verbs): Promise<number> {
  let exitCode: number = exitCodes.ok
  const done = (code: number) => {
    exitCode = code
  }
  const program = createProgram(verbs, done)
  try {
    await program.parseAsync(argv, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    throw error
  }
}

function createProgram(verbs: Verbs, done: (code: number) => void): Command {
  const program = new Command('cleartap')
    .description(
      'Shows what programs on this machine say over TLS, without a proxy and without changing them.',
    )
    .version(version)
    .exitOverride()
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .showHelpAfterError('(see cleartap help)')
  addWatch(program, verbs, done)
  addRun(program, verbs, done)
  addAgent(program, verbs, done)
  return program
}

function addWatch(program: Command, verbs: Verbs, done: (code: number) => void): void {
  const watch = program
    .command('watch')
    .description('prints each HTTP exchange of every process; data on stdout, all else on stderr')
    .addOption(
      new Option('-p, --pid <pid>', 'only this process; may be repeated').argParser(pidOption).default([]),
    )
    .addOption(new Option('-c, --count <n>', 'end after so many exchanges').argParser(countOption))
    .addOption(
      new Option('--timeout <time>', 'end after this time, with exit code 124').argParser(timeoutOption),
    )
    .option('--fail-if-empty', 'exit code 7 if there was no exchange', false)
  addOutputOptions(watch)
  watch.action(async (options: WatchOptions) => done(await verbs.watch(options)))
}

function addRun(program: Command, verbs: Verbs, done: (code: number) => void): void {
  const run = program
    .command('run')
    .description('runs a command, prints the exchanges of it and its children, ends with its exit code')
    .usage('[options] -- COMMAND [ARGS...]')
    .argument('<command>')
    .argument('[args...]')
    .passThroughOptions()
    .option('-w, --write <file>', 'print to a file, or "-" for stdout; without it to stderr')
  addOutputOptions(run)
  run.action(async (command: string, args: string[], options: RunOptions) =>
    done(await verbs.run(command, args, options)),
  )
}

function addAgent(program: Command, verbs: Verbs, done: (code: number) => void): void {
  program
    .command('agent')
    .description('runs as a service: events to Pulse, headers and bodies to your object store')
    .requiredOption('--config <file>', 'configuration (YAML); see docs/configuration.md')
    .action(async (options: AgentOptions) => done(await verbs.agent(options)))
}

function addOutputOptions(command: Command): void {
  command
    .option('--json', 'one JSON object a line', false)
    .addOption(
      new Option('--max-body <bytes>', 'print bodies up to this size; 0: none')
        .argParser(bytesOption)
        .default(0),
    )
    .option('--no-headers', 'leave out the line of column titles')
    .addOption(new Option('--color <when>', 'colors').choices(['auto', 'always', 'never']).default('auto'))
}
