/** The table of benchmarks: a new one is one file and one line here. */
import type { Bench } from './bench.js'
import { ring } from './ring.js'

export const benches: readonly Bench[] = [ring]
