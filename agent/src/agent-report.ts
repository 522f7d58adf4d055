/** What a heartbeat tells the control plane. */
import { HealthState, type IngestStats } from '../../gen/cleartap/controlplane/v1/config.js'
import type { AgentParts } from './agent-metrics.js'
import type { AgentReport } from './config-client.js'
import type { ConfiguredSink } from './sinks/index.js'

export function agentReport({ observation, sink }: AgentParts): AgentReport {
  const capture = observation.capture()
  const connections = observation.connections()
  const isHealthy = capture.attachFailures === 0 && (sink?.type !== 'pulse' || sink.stats().connected)
  return {
    health: isHealthy ? HealthState.HEALTH_STATE_HEALTHY : HealthState.HEALTH_STATE_DEGRADED,
    capture: {
      exchanges: BigInt(connections.exchanges),
      bytesCaptured: BigInt(capture.bytes),
      bytesLost: BigInt(sum(capture.lostBytes)),
      recordsLost: BigInt(sum(capture.lostRecords) + capture.controlRecordsLost),
      processes: capture.processes,
      probes: capture.probes,
    },
    ingest: ingestStats(sink),
  }
}

function ingestStats(sink: ConfiguredSink | undefined): IngestStats {
  switch (sink?.type) {
    case 'pulse': {
      const stats = sink.stats()
      const dropped = stats.droppedQueueFull + stats.droppedSpoolFailed + stats.spool.droppedEvents
      return {
        eventsMade: BigInt(stats.events),
        eventsAcked: BigInt(stats.ackedEvents),
        eventsDropped: BigInt(dropped),
        spoolBytes: BigInt(stats.spool.bytes),
        oldestUnacked: ageOf(stats.oldestInFlightUnixNano),
      }
    }
    case 'stdout': {
      const { written, dropped } = sink.stats()
      const eventsMade = BigInt(written + dropped)
      return { ...nothing, eventsMade, eventsDropped: BigInt(dropped) }
    }
    case undefined:
      return nothing
  }
}

const nothing: IngestStats = {
  eventsMade: 0n,
  eventsAcked: 0n,
  eventsDropped: 0n,
  spoolBytes: 0n,
  oldestUnacked: undefined,
}

function ageOf(unixNano: bigint): IngestStats['oldestUnacked'] {
  if (unixNano === 0n) return undefined
  const nanos = BigInt(Date.now()) * 1_000_000n - unixNano
  const age = nanos > 0n ? nanos : 0n
  return { seconds: age / 1_000_000_000n, nanos: Number(age % 1_000_000_000n) }
}

function sum(values: Readonly<Record<string, number>>): number {
  return Object.values(values).reduce((total, value) => total + value, 0)
}
