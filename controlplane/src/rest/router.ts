/** The REST resources, each below /api/v1. */
import { agents } from './agents.js'
import { objectUrls } from './object-urls.js'
import { requests } from './requests.js'
import { revisions } from './revisions.js'
import type { Resource } from './route.js'
import { tail } from './tail.js'
import { timeseries } from './timeseries.js'

export const resources: readonly Resource[] = [requests, tail, timeseries, agents, revisions, objectUrls]
