/** What Pulse counts, for /metrics. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export interface Metrics {
  readonly registry: Registry
  readonly batches: Counter<'outcome'>
  readonly eventsAccepted: Counter
  readonly eventsRejected: Counter
  readonly blockRows: Histogram
  readonly commitSeconds: Histogram
  readonly commitRetries: Counter<'code'>
  readonly tailDropped: Counter
}

/** What is read when /metrics is asked for. */
export interface Gauges {
  readonly openStreams: () => number
  readonly pendingBytes: () => number
  readonly engineRestarts: () => number
  readonly tailReaders: () => number
}

export function createMetrics(gauges: Gauges): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  gauge('cleartap_pulse_open_streams', 'Ingest streams that are open.', gauges.openStreams)
  gauge('cleartap_pulse_pending_bytes', 'Bytes of rows that are not committed yet.', gauges.pendingBytes)
  gauge(
    'cleartap_pulse_engine_restarts',
    'Starts of the embedded engine after the first.',
    gauges.engineRestarts,
  )
  gauge('cleartap_pulse_tail_readers', 'Open tails.', gauges.tailReaders)
  return {
    registry,
    batches: new Counter({
      name: 'cleartap_pulse_batches_total',
      help: 'Batches by outcome: accepted, duplicate, quarantined.',
      labelNames: ['outcome'],
      registers,
    }),
    eventsAccepted: new Counter({
      name: 'cleartap_pulse_events_accepted_total',
      help: 'Events that became rows.',
      registers,
    }),
    eventsRejected: new Counter({
      name: 'cleartap_pulse_events_rejected_total',
      help: 'Events left out of good batches because a field was not acceptable.',
      registers,
    }),
    blockRows: new Histogram({
      name: 'cleartap_pulse_block_rows',
      help: 'Rows of committed blocks.',
      buckets: [1, 10, 100, 1000, 5000, 10_000, 20_000, 50_000],
      registers,
    }),
    commitSeconds: new Histogram({
      name: 'cleartap_pulse_commit_seconds',
      help: 'Time from the first attempt to the record of a block.',
      buckets: [0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30],
      registers,
    }),
    commitRetries: new Counter({
      name: 'cleartap_pulse_commit_retries_total',
      help: 'Failed inserts by ClickHouse error code; 0: no answer.',
      labelNames: ['code'],
      registers,
    }),
    tailDropped: new Counter({
      name: 'cleartap_pulse_tail_dropped_total',
      help: 'Events that matched a tail whose reader was too slow.',
      registers,
    }),
  }
}
