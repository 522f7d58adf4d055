/** Starts programs as children: their log in a file, their ready line read, their end certain. */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

export interface ProgramOptions {
  /** How messages call it. */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** Added to the environment of this process. Secrets go here or in files, never in args. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** File that takes standard error and, after the ready line, standard output; appended to. */
  readonly logPath: string
}

export interface ExitStatus {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** The one JSON line that a service prints when it can serve: {"service": …, "listen": …}. */
export interface ReadyLine {
  readonly service: string
  readonly [field: string]: unknown
}

/** A running child. It is killed by the kernel if this process dies, however it dies. */
export interface Program {
  readonly name: string
  readonly pid: number
  readonly logPath: string
  readonly exited: Promise<ExitStatus>
  isRunning(): boolean
  /** Waits for the ready line. Throws with the end of the log if the program ends or the time is up. */
  ready(timeoutMs: number): Promise<ReadyLine>
  /** Where the log lies and how it ends: for error messages. */
  describeLog(): Promise<string>
  signal(signal: NodeJS.Signals): void
  /** SIGTERM, after graceMs SIGKILL. Returns when the program is gone; at once if it already is. */
  stop(graceMs?: number): Promise<ExitStatus>
}

const defaultGraceMs = 10_000
const logTailBytes = 4096

const readLogTail = async (path: string): Promise<string> => {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const length = Math.min(size, logTailBytes)
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length)
    return buffer.toString('utf8')
  } finally {
    await file.close()
  }
}

const parseReadyLine = (line: string): ReadyLine | undefined => {
  if (!line.startsWith('{')) return undefined
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value !== 'object' || value === null) return undefined
    return 'service' in value && typeof value.service === 'string'
      ? { ...value, service: value.service }
      : undefined
  } catch {
    return undefined
  }
}

const describeExit = ({ code, signal }: ExitStatus): string =>
  signal === null ? `ended with code ${code}` : `was ended by ${signal}`

/** Waits up to timeoutMs for a promise; undefined when the time is up. */
const within = async <T>(promise: Promise<T>, timeoutMs: number): Promise<T | undefined> => {
  const timer = new AbortController()
  try {
    return await Promise.race([promise, sleep(timeoutMs, undefined, { signal: timer.signal })])
  } finally {
    timer.abort()
  }
}

class Child implements Program {
  readonly name: string
  readonly pid: number
  readonly logPath: string
  readonly exited: Promise<ExitStatus>
  readonly #child: ChildProcess
  readonly #readyLine: Promise<ReadyLine>

  constructor(options: ProgramOptions, child: ChildProcess, log: number) {
    this.name = options.name
    this.logPath = options.logPath
    this.pid = child.pid ?? 0
    this.#child = child
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }))
    })
    const lines = createInterface({ input: child.stdout ?? Readable.from([]) })
    lines.once('close', () => closeSync(log))
    this.#readyLine = new Promise((resolve) => {
      lines.on('line', (line) => {
        const ready = parseReadyLine(line)
        if (ready !== undefined) resolve(ready)
        writeSync(log, `${line}\n`)
      })
    })
  }

  isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  async ready(timeoutMs: number): Promise<ReadyLine> {
    const first = await within(Promise.race([this.#readyLine, this.exited]), timeoutMs)
    if (first !== undefined && 'service' in first) return first
    const reason =
      first === undefined
        ? `printed no ready line in ${timeoutMs} ms`
        : `${describeExit(first)} before it was ready`
    throw new Error(`${this.name} ${reason}; ${await this.describeLog()}`)
  }

  async describeLog(): Promise<string> {
    return `end of ${this.logPath}:\n${(await readLogTail(this.logPath)).trimEnd()}`
  }

  signal(signal: NodeJS.Signals): void {
    if (this.isRunning()) process.kill(this.pid, signal)
  }

  async stop(graceMs = defaultGraceMs): Promise<ExitStatus> {
    this.signal('SIGTERM')
    const status = await within(this.exited, graceMs)
    if (status !== undefined) return status
    this.signal('SIGKILL')
    return this.exited
  }
}

/**
 * Starts a program under setpriv(1), which asks the kernel to kill it when this process dies. It is detached from
 * the terminal, so that Ctrl-C reaches only this process and the order of stopping is kept.
 * Throws if the command cannot be started at all.
 */
export const startProgram = async (options: ProgramOptions): Promise<Program> => {
  const log = openSync(options.logPath, 'a', 0o600)
  const child = spawn('setpriv', ['--pdeathsig', 'SIGKILL', '--', options.command, ...options.args], {
    stdio: ['ignore', 'pipe', log],
    env: { ...process.env, ...options.env },
    cwd: options.cwd ?? process.cwd(),
    detached: true,
  })
  try {
    await once(child, 'spawn')
  } catch (cause) {
    closeSync(log)
    throw new Error(`${options.name}: cannot start ${options.command} (setpriv is in util-linux)`, { cause })
  }
  return new Child(options, child, log)
}

/** Stops programs one after the other, the last started first; goes on if one fails, then throws. */
export const stopAll = async (stops: readonly (() => Promise<unknown>)[]): Promise<void> => {
  const errors: unknown[] = []
  for (const stop of stops.toReversed()) {
    try {
      await stop()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw new AggregateError(errors, 'not everything was stopped')
}
