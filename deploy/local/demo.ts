/**
 * npm run demo [-- --once [--json]]
 *
 * Starts all of Cleartap on this machine, makes real HTTPS traffic and shows what was captured. --once: known
 * requests, unattended; exit code 0 only if each was captured whole on both sides. --json: one object a line.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runLive } from './demo-live.js'
import { runOnce } from './demo-once.js'
import { startStack } from './stack.js'
import { startTlsServer } from './traffic.js'

/** A second Ctrl-C so long after the first ends the demo at once; the kernel then ends its children. */
const impatientAfterMs = 2000

const usage = 'usage: npm run demo [-- --once [--json]]'

const say = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

interface DemoOptions {
  readonly once: boolean
  readonly json: boolean
}

const parseOptions = (argv: readonly string[]): DemoOptions | undefined => {
  const flag = { type: 'boolean', default: false } as const
  try {
    const { values } = parseArgs({ args: [...argv], options: { once: flag, json: flag } })
    if (!values.json || values.once) return values
    say(`--json is for --once\n${usage}`)
  } catch (error) {
    say(`${error instanceof Error ? error.message : String(error)}\n${usage}`)
  }
  return undefined
}

const runDemo = async (options: DemoOptions, signal: AbortSignal): Promise<boolean> => {
  const start = performance.now()
  const stack = await startStack({ onProgress: (step) => say(`starting: ${step}`) })
  try {
    const directory = join(stack.directory, 'traffic')
    await mkdir(directory, { mode: 0o700 })
    const server = await startTlsServer(directory)
    try {
      say(`everything runs after ${((performance.now() - start) / 1000).toFixed(1)} s`)
      if (options.once) return await runOnce(stack, server, options.json, signal)
      await runLive(stack, server, signal)
      return true
    } finally {
      await server.program.stop()
    }
  } finally {
    say('stopping: agent (its probes go with it), control plane, Pulse, S3 server')
    await stack.stop()
  }
}

const main = async (argv: readonly string[]): Promise<number> => {
  const options = parseOptions(argv)
  if (options === undefined) return 2
  const interrupted = new AbortController()
  let firstMs: number | undefined
  const onSignal = (): void => {
    firstMs ??= performance.now()
    interrupted.abort()
    // npm passes Ctrl-C on, so that it comes twice; only a later one means that a person has lost patience.
    if (performance.now() - firstMs > impatientAfterMs) process.exit(130)
  }
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, onSignal)
  // A reader that went away (demo | head) ends the demo in order too.
  process.stdout.on('error', () => interrupted.abort())
  const ok = await runDemo(options, interrupted.signal)
  return ok ? 0 : 1
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  say(`demo failed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
