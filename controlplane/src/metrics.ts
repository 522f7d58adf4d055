/** What the control plane counts, for /metrics. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export interface ControlMetrics {
  readonly registry: Registry
  observeAnswer(route: string, status: number, seconds: number): void
  countOffer(outcome: string): void
}

/** @param openSessions gives the streams that are open now. */
export function createMetrics(openSessions: () => number): ControlMetrics {
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
      this.set(openSessions())
    },
  })
  return {
    registry,
    observeAnswer: (route, status, seconds) => answers.observe({ route, status }, seconds),
    countOffer: (outcome) => offers.inc({ outcome }),
  }
}
