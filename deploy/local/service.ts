/** One of Cleartap's own programs as a child, with a generated configuration, restartable in its place. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkout } from './checkout.js'
import type { ExitStatus, Program, ReadyLine } from './process.js'
import { startProgram } from './process.js'

export type ServiceName = 'pulse' | 'controlplane' | 'agent'

/** A configuration as the file holds it; the program itself checks it. */
export type ConfigDocument = Readonly<Record<string, unknown>>

export interface ServiceOptions {
  readonly name: ServiceName
  /** Existing directory for configuration and log. */
  readonly directory: string
  readonly config: ConfigDocument
  /** For secrets that the configuration names as {env: NAME}. */
  readonly env?: Readonly<Record<string, string>>
}

const readyTimeoutMs = 60_000
/** Longer than a program's own limit for its shutdown. */
const stopGraceMs = 30_000

const command = (name: ServiceName): readonly string[] =>
  name === 'agent' ? [checkout.agent, 'agent'] : [checkout[name]]

/** Fields of the ready line that hold a bound address, and the setting that each comes from. */
const addressSettings = { listen: ['listen'], http: ['http', 'listen'], admin: ['admin', 'listen'] } as const

const withSetting = (config: ConfigDocument, path: readonly string[], value: string): ConfigDocument => {
  const [key, ...rest] = path
  if (key === undefined) return config
  const inner = config[key]
  const section = typeof inner === 'object' && inner !== null ? Object.fromEntries(Object.entries(inner)) : {}
  return { ...config, [key]: rest.length === 0 ? value : withSetting(section, rest, value) }
}

export class Service {
  readonly name: ServiceName
  readonly logPath: string
  readonly #options: ServiceOptions
  #config: ConfigDocument
  #program: Program | undefined
  #ready: ReadyLine | undefined

  private constructor(options: ServiceOptions) {
    this.name = options.name
    this.logPath = join(options.directory, `${options.name}.log`)
    this.#options = options
    this.#config = options.config
  }

  /** Starts the program and waits for its ready line. Throws with the end of its log. */
  static async start(options: ServiceOptions): Promise<Service> {
    const service = new Service(options)
    await service.start()
    return service
  }

  /** Of the running program, or of the last one. */
  get pid(): number {
    return this.program.pid
  }

  get program(): Program {
    if (this.#program === undefined) throw new Error(`${this.name} was never started`)
    return this.#program
  }

  /** An address of the ready line, HOST:PORT. Throws if the program did not name it. */
  address(field: keyof typeof addressSettings): string {
    const value = this.#ready?.[field]
    if (typeof value === 'string') return value
    throw new Error(
      `the ready line of ${this.name} has no address "${field}": ${JSON.stringify(this.#ready)}`,
    )
  }

  /** Starts it again after it ended, on the addresses that it had before. */
  async start(): Promise<void> {
    if (this.#program?.isRunning() === true) throw new Error(`${this.name} is running already`)
    const configPath = join(this.#options.directory, `${this.name}.yaml`)
    await writeFile(configPath, `${JSON.stringify(this.#config, null, 2)}\n`, { mode: 0o600 })
    this.#program = await startProgram({
      name: this.name,
      command: checkout.node,
      args: ['--enable-source-maps', ...command(this.name), '--config', configPath],
      logPath: this.logPath,
      ...(this.#options.env === undefined ? {} : { env: this.#options.env }),
    })
    try {
      this.#ready = await this.#program.ready(readyTimeoutMs)
    } catch (error) {
      await this.#program.stop(0)
      throw error
    }
    this.#keepAddresses(this.#ready)
  }

  /** Ends it as a crash would, and waits until it is gone. */
  async kill(): Promise<ExitStatus> {
    this.program.signal('SIGKILL')
    return this.program.exited
  }

  /** Asks it to end and waits. Throws if it had to be killed: a clean stop is part of every run. */
  async stop(): Promise<void> {
    if (!this.program.isRunning()) return
    const { signal } = await this.program.stop(stopGraceMs)
    if (signal === 'SIGKILL') {
      throw new Error(`${this.name} did not stop in ${stopGraceMs} ms; ${await this.program.describeLog()}`)
    }
  }

  #keepAddresses(ready: ReadyLine): void {
    for (const [field, path] of Object.entries(addressSettings)) {
      const value = ready[field]
      if (typeof value === 'string') this.#config = withSetting(this.#config, path, value)
    }
  }
}
