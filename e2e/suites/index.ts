/** The table of suites: a new one is one file here and one line below. npm test runs all of them. */
import type { Suite } from '../suite.js'
import { suite as agentStore } from './agent-store.js'
import { suite as browser } from './browser.js'
import { suite as cli } from './cli.js'
import { suite as hostile } from './hostile.js'
import { suite as kill } from './kill.js'
import { suite as objectUrls } from './object-urls.js'
import { suite as rest } from './rest.js'
import { suite as s3 } from './s3.js'
import { suite as smoke } from './smoke.js'
import { suite as steer } from './steer.js'
import { suite as tail } from './tail.js'
import { suite as telemetry } from './telemetry.js'

export const suites: readonly Suite[] = [
  s3,
  cli,
  agentStore,
  objectUrls,
  browser,
  smoke,
  rest,
  hostile,
  tail,
  steer,
  kill,
  telemetry,
]
