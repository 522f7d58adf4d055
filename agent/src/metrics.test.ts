import assert from 'node:assert/strict'
import { Metrics } from './metrics.js'

describe('Metrics', () => {
  it('reads totals at each scrape', async () => {
    const metrics = new Metrics()
    let seen = 2
    metrics.total('cleartap_events_total', 'Events.', () => seen)
    metrics.totals('cleartap_lost_total', 'Lost.', 'reason', () => ({ ring_full: seen }))
    metrics.gauge('cleartap_open', 'Open.', () => seen + 1)
    assert.match(await metrics.registry.metrics(), /^cleartap_events_total 2$/m)
    seen = 5
    const text = await metrics.registry.metrics()
    assert.match(text, /^cleartap_events_total 5$/m)
    assert.match(text, /^cleartap_lost_total\{reason="ring_full"\} 5$/m)
    assert.match(text, /^cleartap_open 6$/m)
    assert.match(text, /^cleartap_build_info\{version="\d/m)
  })
})
