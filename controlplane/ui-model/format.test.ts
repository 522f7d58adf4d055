import assert from 'node:assert/strict'
import {
  formatAge,
  formatBytes,
  formatCount,
  formatDuration,
  formatInstant,
  formatSocket,
  formatTime,
  formatUuid,
} from './format.js'

describe('formatting', () => {
  it('shows bytes with three figures in decimal units', () => {
    const cases = [
      [0n, '0 B'],
      [999n, '999 B'],
      [1000n, '1.00 kB'],
      [1236, '1.24 kB'],
      [99_960n, '100 kB'],
      [999_499n, '999 kB'],
      [999_500n, '1.00 MB'],
      [8_388_608n, '8.39 MB'],
      [2n ** 63n, '9223372 TB'],
    ] as const
    for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text)
  })

  it('shows durations in the unit that fits', () => {
    const cases = [
      [0n, '0 ns'],
      [999n, '999 ns'],
      [1000n, '1.00 µs'],
      [840_000n, '840 µs'],
      [999_500n, '1.00 ms'],
      [12_340_000n, '12.3 ms'],
      [1_500_000_000n, '1.50 s'],
      [59_990_000_000n, '60.0 s'],
      [125_000_000_000n, '2 min 5 s'],
    ] as const
    for (const [nano, text] of cases) assert.equal(formatDuration(nano), text)
  })

  it('groups digits of counts', () => {
    assert.equal(formatCount(12n), '12')
    assert.equal(formatCount(1_234_567), '1\u202f234\u202f567')
  })

  it('shows local time to the millisecond and instants to the microsecond', () => {
    const nano = BigInt(new Date(2026, 10, 23, 8, 4, 5, 7).getTime()) * 1_000_000n + 89_999n
    assert.equal(formatTime(nano), '08:04:05.007')
    assert.match(formatInstant(nano), /^2026-11-23 08:04:05\.007089 [+-]\d{2}:\d{2}$/)
  })

  it('shows ages in one unit, and none in the future', () => {
    const ages = [-5000, 1400, 8000, 200_000, 7_200_000, 500_000_000].map(formatAge)
    assert.deepEqual(ages, ['now', 'now', '8 s ago', '3 min ago', '2 h ago', '5 d ago'])
  })

  it('shows 16 bytes as a UUID', () => {
    const bytes = Uint8Array.from({ length: 16 }, (_, i) => i * 17)
    assert.equal(formatUuid(bytes), '00112233-4455-6677-8899-aabbccddeeff')
    assert.equal(formatUuid(bytes.subarray(0, 2)), '0011')
  })

  it('shows addresses as RFC 5952 says', () => {
    const v6 = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
    const cases = [
      [Uint8Array.of(10, 0, 0, 1), '10.0.0.1:443'],
      [v6('20010db8000000000000000000000001'), '[2001:db8::1]:443'],
      [v6('00000000000000000000000000000000'), '[::]:443'],
      [v6('20010db8000000010001000100010001'), '[2001:db8:0:1:1:1:1:1]:443'],
      [v6('20010000000000010000000000000001'), '[2001:0:0:1::1]:443'],
      [v6('00000000000000000000ffffc0000201'), '[::ffff:192.0.2.1]:443'],
      [new Uint8Array(), ''],
    ] as const
    for (const [address, text] of cases) assert.equal(formatSocket(address, 443), text)
  })
})
