import assert from 'node:assert/strict'
import { createLogger } from './log.js'
import { sdkLogger, telemetryRequested } from './telemetry.js'

describe('telemetry', () => {
  it('is off unless the environment asks for an exporter', () => {
    assert.equal(telemetryRequested({}), false)
    assert.equal(telemetryRequested({ OTEL_SERVICE_NAME: 'x', OTEL_TRACES_EXPORTER: '' }), false)
    assert.equal(telemetryRequested({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4317' }), true)
    assert.equal(telemetryRequested({ OTEL_METRICS_EXPORTER: 'otlp' }), true)
    assert.equal(telemetryRequested({ OTEL_METRICS_EXPORTER: 'otlp', OTEL_SDK_DISABLED: 'true' }), false)
  })

  it('says once that exports fail, and each warning once', () => {
    const lines: string[] = []
    const destination = { write: (line: string) => void lines.push(line) }
    const diag = sdkLogger(createLogger('test', { level: 'debug', format: 'json', destination }))
    for (let i = 0; i < 3; i += 1) {
      diag.error(JSON.stringify({ message: 'connect ECONNREFUSED', code: 'ECONNREFUSED', stack: `at ${i}` }))
      diag.warn('unknown propagator')
      diag.info('retrying')
    }
    const [error, warning, ...more] = lines.map((line) => JSON.parse(line))
    assert.equal(error.reason, 'connect ECONNREFUSED ECONNREFUSED')
    assert.equal(warning.reason, 'unknown propagator')
    assert.deepEqual(more, [])
  })
})
