import type { Logger } from './log.js'

const defaultStepTimeoutMs = 10_000

interface Step {
  readonly name: string
  readonly stop: () => Promise<void> | void
}

/** What was started, stopped in the reverse order, once. A step that fails or hangs does not hold up the others. */
export class Lifecycle {
  readonly #logger: Logger
  readonly #stepTimeoutMs: number
  readonly #steps: Step[] = []
  #stopped: Promise<void> | undefined

  /** stepTimeoutMs bounds each step; what takes longer is logged and left behind. */
  constructor(logger: Logger, stepTimeoutMs: number = defaultStepTimeoutMs) {
    this.#logger = logger
    this.#stepTimeoutMs = stepTimeoutMs
  }

  /** Adds how to stop something that has just been started. Throws once stop() was called. */
  add(name: string, stop: () => Promise<void> | void): void {
    if (this.#stopped !== undefined) throw new Error(`cannot add "${name}": already stopping`)
    this.#steps.push({ name, stop })
  }

  /** Stops everything, last added first. Never rejects; every call returns the same promise. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopAll()
    return this.#stopped
  }

  async #stopAll(): Promise<void> {
    for (const step of this.#steps.toReversed()) await this.#stopOne(step)
  }

  async #stopOne(step: Step): Promise<void> {
    const startedMs = performance.now()
    const timedOut = Promise.withResolvers<'timeout'>()
    const timer = setTimeout(() => timedOut.resolve('timeout'), this.#stepTimeoutMs)
    try {
      const outcome = await Promise.race([Promise.resolve().then(step.stop), timedOut.promise])
      const ms = Math.round(performance.now() - startedMs)
      if (outcome === 'timeout') this.#logger.error({ step: step.name, ms }, 'step did not stop in time')
      else this.#logger.debug({ step: step.name, ms }, 'stopped')
    } catch (error) {
      this.#logger.error({ step: step.name, error }, 'step failed to stop')
    } finally {
      clearTimeout(timer)
    }
  }
}

/**
 * Resolves with the first SIGINT or SIGTERM. The handlers are gone by then, so that a second signal ends the
 * process at once. An aborted signal removes them too, and rejects.
 */
export function untilSignal(abort?: AbortSignal): Promise<NodeJS.Signals> {
  const names = ['SIGINT', 'SIGTERM'] as const
  return new Promise((resolve, reject) => {
    const remove = () => {
      for (const name of names) process.off(name, onSignal)
      abort?.removeEventListener('abort', onAbort)
    }
    const onSignal = (name: NodeJS.Signals) => {
      remove()
      resolve(name)
    }
    const onAbort = () => {
      remove()
      reject(abort?.reason)
    }
    for (const name of names) process.on(name, onSignal)
    abort?.addEventListener('abort', onAbort)
    if (abort?.aborted === true) onAbort()
  })
}
