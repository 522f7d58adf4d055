/** The one place where CLOCK_BOOTTIME becomes Unix time. */
import { readFileSync } from 'node:fs'

const MS = 1_000_000n
/** /proc/uptime counts hundredths of a second: what lies within that is no suspension. */
const UPTIME_STEP_NS = 20n * MS

/** Nanoseconds on CLOCK_BOOTTIME: the monotonic clock and the time that the machine was suspended. */
export function readBoottimeNs(): bigint {
  const uptimeSeconds = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0])
  const monotonicNs = process.hrtime.bigint()
  const suspendedNs = BigInt(Math.round(uptimeSeconds * 1000)) * MS - monotonicNs
  return suspendedNs > UPTIME_STEP_NS ? monotonicNs + suspendedNs : monotonicNs
}

/** Converts kernel times. The offset follows steps of the wall clock when refresh is called. */
export class BootClock {
  #offsetNs: bigint
  readonly #boottimeNs: () => bigint
  readonly #nowMs: () => number

  constructor(boottimeNs: () => bigint = readBoottimeNs, nowMs: () => number = Date.now) {
    this.#boottimeNs = boottimeNs
    this.#nowMs = nowMs
    this.#offsetNs = this.#measure()
  }

  /** Unix epoch nanoseconds of a CLOCK_BOOTTIME time. */
  toEpochNs(boottimeNs: bigint): bigint {
    return boottimeNs + this.#offsetNs
  }

  nowBoottimeNs(): bigint {
    return this.#boottimeNs()
  }

  /** Follows the wall clock if it has moved by more than its own step of a millisecond explains. */
  refresh(): void {
    const measured = this.#measure()
    const moved = measured - this.#offsetNs
    if (moved > 2n * MS || moved < -2n * MS) this.#offsetNs = measured
  }

  /** Date.now() is cut to milliseconds: half of one is added. */
  #measure(): bigint {
    return BigInt(this.#nowMs()) * MS + MS / 2n - this.#boottimeNs()
  }
}
