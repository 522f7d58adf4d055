/** The table of suites: a new one is one file here and one line below. npm test runs all of them. */
import type { Suite } from '../suite.js'
import { suite as cli } from './cli.js'
import { suite as s3 } from './s3.js'

export const suites: readonly Suite[] = [s3, cli]
