/** The table of benchmarks: a new one is one file and one line here. */
import type { Bench } from './bench.js'
import { ingest } from './ingest.js'
import { overhead } from './overhead.js'
import { pipeline } from './pipeline.js'
import { ring } from './ring.js'

export const benches: readonly Bench[] = [ring, overhead, pipeline, ingest]
