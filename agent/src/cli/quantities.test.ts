import assert from 'node:assert/strict'
import { formatBytes, formatDurationNs, parseBytes, parseDurationMs } from './quantities.js'

describe('quantities', () => {
  it('reads durations', () => {
    const cases = { '30s': 30_000, '250ms': 250, '1.5': 1500, '2m': 120_000, '1h': 3_600_000 }
    for (const [text, ms] of Object.entries(cases)) assert.equal(parseDurationMs(text), ms, text)
    for (const text of ['', '0', '-1s', '1 s', '5 minutes', '1e9h'])
      assert.equal(parseDurationMs(text), undefined)
  })

  it('reads sizes', () => {
    const cases = { '0': 0, '4096': 4096, '64k': 65_536, '8M': 8_388_608, '1GiB': 1_073_741_824, '10B': 10 }
    for (const [text, bytes] of Object.entries(cases)) assert.equal(parseBytes(text), bytes, text)
    for (const text of ['', '-1', '1.5k', 'k', '99999999999999999']) assert.equal(parseBytes(text), undefined)
  })

  it('writes both', () => {
    assert.deepEqual([0, 999, 1000, 4300, 20_000, 17 * 1024 ** 2].map(formatBytes), [
      '0B',
      '999B',
      '1.0KiB',
      '4.2KiB',
      '20KiB',
      '17MiB',
    ])
    assert.deepEqual([43_210n, 1_400_000n, 18_000_000n, 2_500_000_000n].map(formatDurationNs), [
      '43µs',
      '1.4ms',
      '18ms',
      '2.5s',
    ])
  })
})
