import { Counter, Gauge, Registry } from 'prom-client'
import { version } from '../../common/version.js'

/** Values by the label's value. */
export type Labelled = Readonly<Record<string, number>>

/** A registry whose metrics are read from totals that their owners keep, at the time of a scrape. */
export class Metrics {
  readonly registry = new Registry()

  constructor() {
    new Gauge({
      name: 'cleartap_build_info',
      help: 'The build that runs; always 1.',
      labelNames: ['version'],
      registers: [this.registry],
    }).set({ version }, 1)
  }

  /** A total that only rises. */
  total(name: string, help: string, read: () => number): void {
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  }

  /** Totals that only rise, one for each value of a label. */
  totals(name: string, help: string, label: string, read: () => Labelled): void {
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        this.reset()
        for (const [value, total] of Object.entries(read())) this.inc({ [label]: value }, total)
      },
    })
  }

  /** Values as of now, one for each value of a label. */
  gauges(name: string, help: string, label: string, read: () => Labelled): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        this.reset()
        for (const [value, now] of Object.entries(read())) this.set({ [label]: value }, now)
      },
    })
  }

  /** A value as of now. */
  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read())
      },
    })
  }
}
