/** The built control plane as a program, for tests of the configuration client. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** A program of this build. The kernel kills it if the test dies. */
export class Program {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  #changed = Promise.withResolvers<void>()

  /** @param path of the built file, from dist/. */
  constructor(path: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const file = fileURLToPath(new URL(`../../${path}`, import.meta.url))
    const command = ['--pdeathsig', 'SIGKILL', '--', process.execPath, file, ...args]
    this.#child = spawn('setpriv', command, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    })
    const { stdout } = this.#child
    assert.ok(stdout !== null)
    const reader = createInterface({ input: stdout })
    reader.on('line', (line) => this.#add(line))
    reader.on('close', () => this.#add('(end)'))
  }

  /** The next JSON line on standard output. */
  async nextLine(): Promise<Record<string, unknown>> {
    while (this.#lines.length === 0) await this.#changed.promise
    return Object(JSON.parse(this.#lines.shift() ?? ''))
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill(signal)
    await exited
  }

  #add(line: string): void {
    this.#lines.push(line)
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}

/** A control plane with a data directory that outlives it. */
export class ControlPlane {
  readonly #directory: string
  #program: Program | undefined
  #http = ''
  #address = '127.0.0.1:0'

  constructor(directory: string) {
    this.#directory = directory
  }

  /** HOST:PORT of gRPC; the same after a restart. */
  get address(): string {
    return this.#address
  }

  async start(): Promise<void> {
    const file = join(this.#directory, 'controlplane.yaml')
    const settings = {
      data_dir: join(this.#directory, 'controlplane'),
      log: { level: 'error' },
      listen: this.#address,
      http: { listen: '127.0.0.1:0' },
      admin: { listen: '127.0.0.1:0' },
      heartbeat_interval_ms: 200,
      reconnect_min_ms: 20,
      reconnect_max_ms: 100,
    }
    await writeFile(file, JSON.stringify(settings))
    this.#program = new Program('controlplane/src/main.js', ['--config', file])
    const { listen, http } = await this.#program.nextLine()
    this.#address = String(listen)
    this.#http = String(http)
  }

  async stop(signal?: NodeJS.Signals): Promise<void> {
    await this.#program?.stop(signal)
  }

  /** Adds a revision and gives its version. */
  async publish(content: string): Promise<number> {
    const response = await fetch(`http://${this.#http}/api/v1/revisions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ content }),
    })
    assert.equal(response.status, 201, await response.clone().text())
    return Object(await response.json()).version
  }

  /** Waits until the only agent is as asked. */
  async untilAgent(accepts: (agent: AgentView) => boolean): Promise<AgentView> {
    let agent: AgentView | undefined
    for (let attempt = 0; attempt < 500; attempt += 1) {
      const response = await fetch(`http://${this.#http}/api/v1/agents`)
      agent = Object(await response.json()).agents[0]
      if (agent !== undefined && accepts(agent)) return agent
      await sleep(20)
    }
    return assert.fail(`the agent never became so: ${JSON.stringify(agent)}`)
  }
}

export interface AgentView {
  readonly id: string
  readonly connected: boolean
  readonly inSync: boolean
  readonly health: string
  readonly running: { readonly version: number }
  readonly lastGood: { readonly version: number }
  readonly lastAttempt?: {
    readonly version: number
    readonly state: string
    readonly tries: number
    readonly error?: { readonly message: string }
  }
  readonly stats: { readonly capture?: Readonly<Record<string, unknown>> }
}

/** Calls use with a fresh directory and removes it when that has settled. */
export async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'cleartap-config-client-'))
  try {
    await use(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Calls use with a started control plane and a directory for the agent; nothing is left afterwards. */
export function withControlPlane(
  use: (controlPlane: ControlPlane, dataDir: string) => Promise<void>,
): Promise<void> {
  return withDirectory(async (directory) => {
    const controlPlane = new ControlPlane(directory)
    try {
      const dataDir = join(directory, 'agent')
      await mkdir(dataDir)
      await controlPlane.start()
      await use(controlPlane, dataDir)
    } finally {
      await controlPlane.stop()
    }
  })
}
