import { ProblemError } from './problem.js'

/** A token bucket for a whole server. */
export class RateLimit {
  readonly #perSecond: number
  readonly #burst: number
  readonly #now: () => number
  #tokens: number
  #filledAtMs: number

  /** @param now milliseconds; need not be wall time. */
  constructor(perSecond: number, burst: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#now = now
    this.#tokens = burst
    this.#filledAtMs = now()
  }

  /** @throws ProblemError 429 if there were too many calls. */
  take(): void {
    const nowMs = this.#now()
    const refill = ((nowMs - this.#filledAtMs) / 1000) * this.#perSecond
    this.#tokens = Math.min(this.#burst, this.#tokens + refill)
    this.#filledAtMs = nowMs
    if (this.#tokens < 1) {
      const retryAfterSeconds = Math.ceil((1 - this.#tokens) / this.#perSecond)
      const detail = `more than ${this.#perSecond} calls a second (burst ${this.#burst})`
      throw new ProblemError(429, 'RATE_LIMITED', detail, { retryAfterSeconds })
    }
    this.#tokens -= 1
  }
}
