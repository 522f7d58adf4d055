import assert from 'node:assert/strict'
import { telemetryRequested } from './telemetry.js'

describe('telemetry', () => {
  it('is off unless the environment asks for an exporter', () => {
    assert.equal(telemetryRequested({}), false)
    assert.equal(telemetryRequested({ OTEL_SERVICE_NAME: 'x', OTEL_TRACES_EXPORTER: '' }), false)
    assert.equal(telemetryRequested({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4317' }), true)
    assert.equal(telemetryRequested({ OTEL_METRICS_EXPORTER: 'otlp' }), true)
    assert.equal(telemetryRequested({ OTEL_METRICS_EXPORTER: 'otlp', OTEL_SDK_DISABLED: 'true' }), false)
  })
})
