/** The metrics of /metrics as OpenTelemetry instruments: read from the same registry, defined nowhere else. */
import { type Attributes, type BatchObservableResult, metrics, type Observable } from '@opentelemetry/api'
import type { MetricObjectWithValues, MetricValue, Registry } from 'prom-client'

/** One reading of a registry. */
type Reading = MetricObjectWithValues<MetricValue<string>>

/**
 * Makes an instrument for every metric of a registry and reads the registry once a collection. A histogram becomes
 * its three series: _bucket (attribute le), _sum and _count, each a counter.
 */
export async function exportRegistry(registry: Registry): Promise<void> {
  const instruments = new Map<string, Observable>()
  for (const { name, help, type } of await readings(registry)) {
    for (const [series, make] of seriesOf(name, String(type))) {
      instruments.set(series, make(series, help))
    }
  }
  const observe = async (result: BatchObservableResult): Promise<void> => {
    for (const reading of await readings(registry)) {
      for (const value of reading.values) observeValue(result, instruments, reading.name, value)
    }
  }
  meter().addBatchObservableCallback(observe, [...instruments.values()])
}

function observeValue(
  result: BatchObservableResult,
  instruments: ReadonlyMap<string, Observable>,
  name: string,
  { value, labels, metricName }: MetricValue<string> & { readonly metricName?: string },
): void {
  const instrument = instruments.get(metricName ?? name)
  if (instrument === undefined || !Number.isFinite(value)) return
  result.observe(instrument, value, attributesOf(labels))
}

type Make = (name: string, help: string) => Observable

const makeCounter: Make = (name, description) => meter().createObservableCounter(name, { description })
const makeGauge: Make = (name, description) => meter().createObservableGauge(name, { description })

function seriesOf(name: string, type: string): readonly (readonly [string, Make])[] {
  switch (type) {
    case 'counter':
      return [[name, makeCounter]]
    case 'histogram':
      return ['_bucket', '_sum', '_count'].map((suffix) => [`${name}${suffix}`, makeCounter])
    default:
      return [[name, makeGauge]]
  }
}

function meter() {
  return metrics.getMeter('cleartap')
}

async function readings(registry: Registry): Promise<Reading[]> {
  return (await registry.getMetricsAsJSON()) as Reading[]
}

function attributesOf(labels: Partial<Record<string, string | number>>): Attributes {
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, String(value)]))
}
