/** What /metrics says of the service. */
import type { ConfigClient } from './config-client.js'
import type { Metrics } from './metrics.js'
import type { Observation } from './observe.js'
import type { HttpCapture } from './plugins/index.js'
import type { ConfiguredSink } from './sinks/index.js'
import type { ConfiguredStore } from './stores/index.js'

/** The parts of the running service whose counters are shown. */
export interface AgentParts {
  readonly observation: Observation
  readonly http: HttpCapture
  readonly sink: ConfiguredSink | undefined
  readonly store: ConfiguredStore | undefined
}

export function exportMetrics(metrics: Metrics, { observation, http, sink, store }: AgentParts): void {
  exportCapture(metrics, observation)
  exportConnections(metrics, observation)
  exportExchanges(metrics, http)
  if (sink !== undefined) exportSink(metrics, sink)
  if (store !== undefined) exportStore(metrics, store)
}

/** Which configuration runs, and whether the control plane is there to change it. */
export function exportConfigClient(metrics: Metrics, client: ConfigClient): void {
  metrics.gauge('cleartap_config_version', 'Revision that runs; 0: the file.', () => {
    return Number(client.running.version)
  })
  metrics.gauge('cleartap_controlplane_connected', '1 while the control plane is connected.', () => {
    return client.connected ? 1 : 0
  })
}

function exportCapture(metrics: Metrics, observation: Observation): void {
  const stats = () => observation.capture()
  metrics.total('cleartap_capture_events_total', 'Events from the kernel.', () => stats().events)
  metrics.total('cleartap_capture_bytes_total', 'Plaintext bytes from the kernel.', () => stats().bytes)
  metrics.totals('cleartap_capture_lost_bytes_total', 'Plaintext bytes not delivered.', 'reason', () => {
    return stats().lostBytes
  })
  metrics.totals('cleartap_capture_lost_records_total', 'Records not delivered.', 'reason', () => {
    return { ...stats().lostRecords, control_ring_full: stats().controlRecordsLost }
  })
  metrics.gauge('cleartap_libraries', 'TLS libraries probed.', () => stats().libraries)
  metrics.gauge('cleartap_probes', 'Instructions probed.', () => stats().probes)
  metrics.gauges('cleartap_library_probes', 'Instructions probed, by TLS library.', 'library', () => {
    return stats().probesByLibrary
  })
  metrics.total('cleartap_attach_failures_total', 'Libraries that could not be probed.', () => {
    return stats().attachFailures
  })
  metrics.gauge('cleartap_processes', 'Processes known.', () => stats().processes)
  metrics.gauge('cleartap_streams', 'TLS objects followed.', () => stats().streams)
  metrics.totals('cleartap_evicted_total', 'Entries dropped from full tables.', 'table', () => {
    const { processesEvicted, processesSkipped, streamsEvicted } = stats()
    const connections = observation.connections().evicted
    return {
      processes: processesEvicted,
      process_scans: processesSkipped,
      streams: streamsEvicted,
      connections,
    }
  })
}

function exportConnections(metrics: Metrics, observation: Observation): void {
  const stats = () => observation.connections()
  metrics.gauge('cleartap_connections_open', 'Connections followed.', () => stats().open)
  metrics.total('cleartap_connections_total', 'Connections seen.', () => stats().opened)
  metrics.total(
    'cleartap_connection_lost_bytes_total',
    'Bytes that connections miss.',
    () => stats().bytesLost,
  )
  metrics.gauge('cleartap_buffered_bytes', 'Bytes of unfinished exchanges in memory.', () => {
    return stats().bufferedBytes
  })
  metrics.total('cleartap_dropped_body_bytes_total', 'Body bytes let go for want of memory.', () => {
    return stats().droppedBodyBytes
  })
  metrics.total(
    'cleartap_budget_refusals_total',
    'Requests for memory refused.',
    () => stats().budgetRefusals,
  )
}

function exportExchanges(metrics: Metrics, http: HttpCapture): void {
  metrics.total('cleartap_exchanges_total', 'Exchanges decoded.', () => http.stats().exchanges)
  metrics.total('cleartap_artifacts_stored_total', 'Objects stored that events name.', () => {
    return http.stats().artifactsStored
  })
  metrics.total(
    'cleartap_artifacts_underway_total',
    'Objects that events name before they are stored.',
    () => {
      return http.stats().artifactsUnderway
    },
  )
  metrics.total(
    'cleartap_artifacts_failed_total',
    'Objects left out of events: they were not stored.',
    () => {
      return http.stats().artifactsFailed
    },
  )
  metrics.gauge('cleartap_exchanges_waiting', 'Exchanges whose objects are being stored.', () => {
    return http.stats().waiting
  })
}

function exportSink(metrics: Metrics, sink: ConfiguredSink): void {
  switch (sink.type) {
    case 'pulse':
      exportPulse(metrics, sink)
      return
    case 'stdout':
      metrics.total(
        'cleartap_events_total',
        'Events made.',
        () => sink.stats().written + sink.stats().dropped,
      )
      metrics.totals('cleartap_events_dropped_total', 'Events dropped.', 'reason', () => {
        return { slow_reader: sink.stats().dropped }
      })
      return
  }
}

function exportPulse(metrics: Metrics, sink: Extract<ConfiguredSink, { type: 'pulse' }>): void {
  const stats = () => sink.stats()
  metrics.total('cleartap_events_total', 'Events made.', () => stats().events)
  metrics.total('cleartap_events_acked_total', 'Events that Pulse has stored.', () => stats().ackedEvents)
  metrics.totals('cleartap_events_dropped_total', 'Events dropped.', 'reason', () => {
    const { droppedQueueFull, droppedSpoolFailed, rejectedEvents, spool } = stats()
    return {
      queue_full: droppedQueueFull,
      spool_failed: droppedSpoolFailed,
      spool_full: spool.droppedEvents,
      rejected: rejectedEvents,
    }
  })
  metrics.gauge('cleartap_events_queued', 'Events waiting for a batch.', () => stats().queuedEvents)
  metrics.gauge('cleartap_spool_bytes', 'Bytes of the spool on disk, whole segments.', () => {
    return stats().spool.bytes
  })
  metrics.gauge('cleartap_export_lag_seconds', 'Age of the oldest event that Pulse has not stored.', () => {
    return sink.sink.exportLagSeconds()
  })
  metrics.gauge('cleartap_spool_segments', 'Files of the spool.', () => stats().spool.segments)
  metrics.gauge('cleartap_pulse_connected', '1 while Pulse takes events.', () => (stats().connected ? 1 : 0))
  metrics.total('cleartap_pulse_sessions_total', 'Streams to Pulse.', () => stats().sessions)
  metrics.total('cleartap_pulse_batches_total', 'Batches sent.', () => stats().sentBatches)
}

function exportStore(metrics: Metrics, store: ConfiguredStore): void {
  switch (store.type) {
    case 'stdout':
      metrics.total('cleartap_objects_stored_total', 'Objects written.', () => store.stats().storedObjects)
      metrics.totals('cleartap_objects_dropped_total', 'Objects dropped.', 'reason', () => {
        return { slow_reader: store.stats().dropped }
      })
      return
    case 's3':
    case 'directory':
      exportUploads(metrics, store)
      return
  }
}

function exportUploads(metrics: Metrics, store: Exclude<ConfiguredStore, { type: 'stdout' }>): void {
  const stats = () => store.stats()
  metrics.total('cleartap_objects_stored_total', 'Objects written.', () => stats().storedObjects)
  metrics.total('cleartap_objects_stored_bytes_total', 'Bytes written.', () => stats().storedBytes)
  metrics.total('cleartap_objects_deduplicated_total', 'Objects that were there already.', () => {
    return stats().deduplicated
  })
  metrics.totals('cleartap_objects_dropped_total', 'Objects dropped.', 'reason', () => stats().dropped)
  metrics.total('cleartap_objects_failed_total', 'Objects given up after retries, or refused.', () => {
    return stats().failed
  })
  metrics.total('cleartap_objects_given_up_total', 'Objects not stored when the agent ended.', () => {
    return stats().givenUp
  })
  metrics.total('cleartap_objects_failed_named_total', 'Of both, those that events name.', () => {
    return stats().failedNamed
  })
  metrics.gauge(
    'cleartap_upload_queue_age_seconds',
    'Age of the oldest object not being written yet.',
    () => {
      return stats().oldestWaitingMs / 1000
    },
  )
  metrics.gauge('cleartap_upload_queue_bytes', 'Bytes waiting for the store.', () => stats().queuedBytes)
}
