/** What the control plane counts, for /metrics. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export interface ControlMetrics {
  readonly registry: Registry
  observeAnswer(route: string, status: number, seconds: number): void
  countOffer(outcome: string): void
}

/** What is read when /metrics is asked for. */
export interface Gauges {
  /** Streams that are open now. */
  readonly openSessions: () => number
  /** The latest attempt to connect to Pulse failed. */
  readonly isPulseFailing: () => boolean
}

export function createMetrics(gauges: Gauges): ControlMetrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const answers = new Histogram({
    name: 'cleartap_controlplane_http_request_duration_seconds',
    help: 'REST calls by route pattern and status.',
    labelNames: ['route', 'status'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  })
  const offers = new Counter({
    name: 'cleartap_controlplane_config_offers_total',
    help: 'Revisions offered to agents and their answers, by outcome.',
    labelNames: ['outcome'],
    registers: [registry],
  })
  new Gauge({
    name: 'cleartap_controlplane_sessions',
    help: 'Agents connected now.',
    registers: [registry],
    collect() {
      this.set(gauges.openSessions())
    },
  })
  new Gauge({
    name: 'cleartap_controlplane_pulse_failing',
    help: '1 while Pulse cannot be reached: requests cannot be listed, agents are steered all the same.',
    registers: [registry],
    collect() {
      this.set(gauges.isPulseFailing() ? 1 : 0)
    },
  })
  return {
    registry,
    observeAnswer: (route, status, seconds) => answers.observe({ route, status }, seconds),
    countOffer: (outcome) => offers.inc({ outcome }),
  }
}
