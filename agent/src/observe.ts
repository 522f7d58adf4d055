/** Exchanges as they happen: what watch, run and the service build on. */
import type { AgentConfig, CaptureConfig } from '../../common/config/schema.js'
import { ExitError, exitCodes } from '../../common/exit-codes.js'
import type { Logger } from '../../common/log.js'
import { Capture, type CaptureStats } from './bpf/capture.js'
import { checkHost } from './bpf/preflight.js'
import type { CaptureTargets } from './bpf/targets.js'
import { type ConnectionStats, ConnectionTable } from './connections/index.js'
import type { ConnectionPart } from './exchange/connection-part.js'
import type { Exchange } from './exchange/exchange.js'

const tickIntervalMs = 1000

export interface ObserveOptions {
  readonly targets: CaptureTargets
  readonly config: Pick<AgentConfig, 'ring_bytes' | 'max_connections' | 'max_buffered_bytes' | 'capture'>
  readonly logger: Logger
  /** False where nothing takes bodies: they are then counted, not kept. */
  readonly wantsBodies: boolean
  onExchange(exchange: Exchange): void
  onConnectionPart(part: ConnectionPart): void
}

/** A running capture and the connections that are followed in it. */
export interface Observation {
  capture(): CaptureStats
  connections(): ConnectionStats
  /** Puts other settings into force for bodies that begin, and processes that run, from now on. */
  apply(capture: CaptureConfig): void
  /** Detaches, reads what the rings still hold, ends every connection. Once; later calls wait for the first. */
  stop(): Promise<void>
}

/**
 * Resolves when every TLS library in use is probed. Throws ExitError, before anything is attached, if this host
 * cannot be observed.
 */
export async function observe(options: ObserveOptions): Promise<Observation> {
  requireHost()
  const { config, targets, logger } = options
  let capture: Capture | undefined
  const table = new ConnectionTable({
    maxConnections: config.max_connections,
    maxBufferedBytes: config.max_buffered_bytes,
    maxBodyBytes: keptBodyBytes(config.capture, options.wantsBodies),
    processOf: (key) => known(capture).processes.lookup(key),
    libraryOf: (streamId) => known(capture).libraryOf(streamId) ?? '',
    onExchange: (exchange) => options.onExchange(exchange),
    onConnectionPart: (part) => options.onConnectionPart(part),
  })
  const started = await Capture.start(
    {
      ringBytes: config.ring_bytes,
      maxStreams: config.max_connections,
      targets,
      ignore: config.capture.ignore,
      logger,
    },
    {
      // Events come while the libraries are still being probed, before start() has resolved.
      onEvent(event, source) {
        capture = source
        table.onEvent(event)
      },
      onBatchEnd() {},
    },
  )
  const timer = setInterval(() => table.tick(BigInt(Date.now()) * 1_000_000n), tickIntervalMs)
  return new RunningObservation(started, table, timer, options.wantsBodies)
}

class RunningObservation implements Observation {
  readonly #capture: Capture
  readonly #table: ConnectionTable
  readonly #timer: NodeJS.Timeout
  readonly #wantsBodies: boolean
  #stopped: Promise<void> | undefined

  constructor(capture: Capture, table: ConnectionTable, timer: NodeJS.Timeout, wantsBodies: boolean) {
    this.#capture = capture
    this.#table = table
    this.#timer = timer
    this.#wantsBodies = wantsBodies
  }

  capture(): CaptureStats {
    return this.#capture.stats()
  }

  connections(): ConnectionStats {
    return this.#table.stats()
  }

  apply(capture: CaptureConfig): void {
    this.#table.setMaxBodyBytes(keptBodyBytes(capture, this.#wantsBodies))
    this.#capture.ignore(capture.ignore)
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#end()
    return this.#stopped
  }

  async #end(): Promise<void> {
    clearInterval(this.#timer)
    await this.#capture.stop()
    this.#table.closeAll()
  }
}

/** Throws ExitError if this host cannot be observed, or not by this user. */
export function requireHost(): void {
  const check = checkHost()
  if (check.ok) return
  const code = check.exitCode === 4 ? exitCodes.privilege : exitCodes.unsupported
  throw new ExitError(code, check.message)
}

function keptBodyBytes({ level, max_body_bytes }: CaptureConfig, wantsBodies: boolean): number {
  return wantsBodies && level === 'full' ? max_body_bytes : 0
}

function known(capture: Capture | undefined): Capture {
  if (capture === undefined) throw new Error('an event before the capture that it comes from')
  return capture
}
