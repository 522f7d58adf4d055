import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { BootClock, readBoottimeNs } from './boot-clock.js'

const MS = 1_000_000n

describe('BootClock', () => {
  it('reads the time since boot as the kernel tells it', () => {
    const toldMs = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 1000
    const readMs = Number(readBoottimeNs() / MS)
    assert.ok(Math.abs(readMs - toldMs) < 1000, `${readMs} ms beside ${toldMs} ms`)
  })

  it('gives the present as the wall clock does', () => {
    const clock = new BootClock()
    const differenceMs = Number(clock.toEpochNs(clock.nowBoottimeNs()) / MS) - Date.now()
    assert.ok(Math.abs(differenceMs) < 100, `${differenceMs} ms`)
  })

  it('follows a step of the wall clock, not its grain', () => {
    let nowMs = 1000
    const clock = new BootClock(
      () => 0n,
      () => nowMs,
    )
    const before = clock.toEpochNs(5n)
    assert.equal(before, 1000n * MS + MS / 2n + 5n)
    nowMs = 1001
    clock.refresh()
    assert.equal(clock.toEpochNs(5n), before)
    nowMs = 500
    clock.refresh()
    assert.equal(clock.toEpochNs(5n), before - 500n * MS)
  })
})
