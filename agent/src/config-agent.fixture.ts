/**
 * A process that holds a configuration client, for tests that kill it. Environment: TEST_ADDRESS, TEST_DATA_DIR,
 * TEST_HANG_LEVEL (applying this capture level never ends). Prints a JSON line for each apply as it begins.
 */
import { createLogger } from '../../common/log.js'
import { loadAgentId } from './agent-id.js'
import { ConfigClient } from './config-client.js'

const dataDir = process.env['TEST_DATA_DIR'] ?? ''

await ConfigClient.start({
  address: process.env['TEST_ADDRESS'] ?? '',
  dataDir,
  agent: {
    agentId: await loadAgentId(dataDir),
    bootId: 'boot',
    version: '0.1.0',
    host: 'fixture',
    kernel: '6.18.44',
    architecture: 'x64',
    labels: {},
  },
  apply: async ({ level }) => {
    process.stdout.write(`${JSON.stringify({ applying: level })}\n`)
    if (level === process.env['TEST_HANG_LEVEL']) await new Promise(() => undefined)
  },
  report: () => ({
    health: 1,
    capture: { exchanges: 0n, bytesCaptured: 0n, bytesLost: 0n, recordsLost: 0n, processes: 0, probes: 0 },
    ingest: { eventsMade: 0n, eventsAcked: 0n, eventsDropped: 0n, spoolBytes: 0n, oldestUnacked: undefined },
  }),
  logger: createLogger('agent', { level: 'warn', format: 'json' }),
})
