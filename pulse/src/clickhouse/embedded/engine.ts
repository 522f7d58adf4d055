/** Keeps the embedded ClickHouse running: starts its process, starts it again when it dies, ends it in order. */
import { type ChildProcess, fork } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, statfs } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Logger } from 'pino'
import type { AddressSource, ClickHouseAddress } from '../client.js'
import { type ChildMessage, ENGINE_USER, type ParentMessage } from './messages.js'

const CHILD = new URL('./child.js', import.meta.url)
const START_TIMEOUT_MS = 60_000
const LOCK_WAIT_MS = 15_000
const FIRST_BACKOFF_MS = 100
const LAST_BACKOFF_MS = 10_000
const STEADY_MS = 60_000
const SPOOL_ROOT = '/dev/shm'
/** Spool files go to tmpfs only where it has room for several of the largest. */
const SPOOL_ROOM_FACTOR = 4

export interface EmbeddedEngineOptions {
  readonly dataDir: string
  /** Largest body of one insert. */
  readonly maxInsertBytes: number
  readonly log: Logger
}

interface Child {
  readonly process: ChildProcess
  readonly address: ClickHouseAddress
}

/** Another process holds the data directory. */
class LockedError extends Error {}

export class EmbeddedEngine implements AddressSource {
  readonly #options: EmbeddedEngineOptions
  readonly #spoolDir: string
  #child: Child | undefined
  #starting: Promise<void> | undefined
  #closing = false
  #restarts = 0
  #wake: (() => void) | undefined

  private constructor(options: EmbeddedEngineOptions, spoolDir: string) {
    this.#options = options
    this.#spoolDir = spoolDir
  }

  /** Resolves when the engine answers. Rejects if it cannot start, or another process holds its directory. */
  static async start(options: EmbeddedEngineOptions): Promise<EmbeddedEngine> {
    await mkdir(options.dataDir, { recursive: true, mode: 0o700 })
    const engine = new EmbeddedEngine(options, await makeSpoolDir(options))
    try {
      await engine.#startUnlocked()
      await removeOldSpools(options.dataDir, engine.#spoolDir)
    } catch (error) {
      await engine.close(0)
      throw error
    }
    return engine
  }

  /** Where the engine listens now; absent while it is down. Each start has another port and password. */
  address(): ClickHouseAddress | undefined {
    return this.#child?.address
  }

  /** Process id of the running engine. */
  get pid(): number | undefined {
    return this.#child?.process.pid
  }

  /** How often the engine was started again after it died. */
  get restarts(): number {
    return this.#restarts
  }

  /** Lets running statements finish for graceMs, then ends the engine; kills it if it does not end. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true
    this.#wake?.()
    await this.#starting?.catch(() => undefined)
    const child = this.#child?.process
    if (child) await stopChild(child, graceMs)
    await rm(this.#spoolDir, { recursive: true, force: true })
  }

  /** An engine whose parent was killed lets go of the directory a moment later: wait for it. */
  async #startUnlocked(): Promise<void> {
    const giveUpAt = Date.now() + LOCK_WAIT_MS
    for (;;) {
      try {
        return await this.#startChild()
      } catch (error) {
        if (!(error instanceof LockedError) || Date.now() > giveUpAt) throw error
        await this.#pause(FIRST_BACKOFF_MS)
        if (this.#closing) throw error
      }
    }
  }

  async #startChild(): Promise<void> {
    const child = fork(CHILD, [], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // Nothing of Pulse's own environment: it may hold secrets, and the engine runs SQL.
      env: { UV_THREADPOOL_SIZE: '16' },
    })
    if (child.stderr) {
      createInterface({ input: child.stderr }).on('line', (line) => {
        this.#options.log.debug({ line: line.slice(0, 1000) }, 'engine output')
      })
    }
    const secret = randomBytes(32).toString('base64url')
    try {
      const port = await untilReady(child, {
        kind: 'start',
        dataDir: this.#options.dataDir,
        spoolDir: this.#spoolDir,
        maxInsertBytes: this.#options.maxInsertBytes,
        secret,
      })
      const address = { url: `http://127.0.0.1:${port}`, username: ENGINE_USER, password: secret }
      this.#child = { process: child, address }
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
    const startedAt = Date.now()
    child.once('exit', (code, signal) => this.#onExit(code, signal, Date.now() - startedAt))
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null, livedMs: number): void {
    this.#child = undefined
    if (this.#closing) return
    this.#options.log.error({ code, signal, livedMs }, 'embedded engine died; starting it again')
    this.#starting = this.#restart(livedMs >= STEADY_MS ? FIRST_BACKOFF_MS : FIRST_BACKOFF_MS * 2).finally(
      () => {
        this.#starting = undefined
      },
    )
  }

  async #restart(firstPauseMs: number): Promise<void> {
    let pauseMs = firstPauseMs
    while (!this.#closing) {
      await this.#pause(pauseMs)
      if (this.#closing) return
      try {
        await this.#startChild()
        this.#restarts += 1
        this.#options.log.info({ restarts: this.#restarts }, 'embedded engine runs again')
        return
      } catch (error) {
        this.#options.log.error({ err: error, pauseMs }, 'embedded engine does not start')
        pauseMs = Math.min(pauseMs * 2, LAST_BACKOFF_MS)
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = undefined
  }
}

/** Beginning of the names of a data directory's spool directories. */
export function spoolPrefix(dataDir: string): string {
  return `cleartap-spool-${createHash('sha256').update(resolve(dataDir)).digest('hex').slice(0, 16)}-`
}

/** Removes what killed owners of the data directory left. Only for who holds its lock. */
async function removeOldSpools(dataDir: string, spoolDir: string): Promise<void> {
  const parent = dirname(spoolDir)
  const old = (await readdir(parent)).filter(
    (name) => name.startsWith(spoolPrefix(dataDir)) && name !== basename(spoolDir),
  )
  await Promise.all(old.map((name) => rm(join(parent, name), { recursive: true, force: true })))
}

async function makeSpoolDir(options: EmbeddedEngineOptions): Promise<string> {
  try {
    const memory = await statfs(SPOOL_ROOT)
    if (memory.bavail * memory.bsize >= SPOOL_ROOM_FACTOR * options.maxInsertBytes) {
      return await mkdtemp(join(SPOOL_ROOT, spoolPrefix(options.dataDir)))
    }
  } catch (error) {
    options.log.debug({ err: error }, 'no memory file system for inserts')
  }
  return await mkdtemp(join(dirname(options.dataDir), spoolPrefix(options.dataDir)))
}

function untilReady(child: ChildProcess, start: ParentMessage): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the engine was not ready within ${START_TIMEOUT_MS} ms`)),
      START_TIMEOUT_MS,
    )
    const settle = (act: () => void) => {
      clearTimeout(timer)
      child.off('error', onError).off('exit', onExit).off('message', onMessage)
      act()
    }
    const onError = (error: Error) => settle(() => reject(error))
    const onExit = (code: number | null, signal: NodeJS.Signals | null) =>
      settle(() => reject(new Error(`the engine ended while it started (${signal ?? code})`)))
    const onMessage = (message: ChildMessage) =>
      settle(() => {
        if (message.kind === 'ready') resolve(message.port)
        else if (message.locked)
          reject(
            new LockedError(
              `another process uses the data directory, or it is not usable: ${message.reason}`,
            ),
          )
        else reject(new Error(message.reason))
      })
    child.once('error', onError).once('exit', onExit).once('message', onMessage)
    child.send(start)
  })
}

async function stopChild(child: ChildProcess, graceMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  if (child.connected) child.send({ kind: 'stop', graceMs } satisfies ParentMessage)
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs + 5_000)
  await ended
  clearTimeout(timer)
}
