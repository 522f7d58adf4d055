import assert from 'node:assert/strict'
import { Backlog, type PendingEvent } from './backlog.js'

const PID = 4_000_000
const process = { pid: PID, startNs: 1n }

const close = (timeNs: bigint, pid = PID): PendingEvent => ({
  kind: 'other',
  event: { kind: 'close', process: { pid, startNs: 1n }, streamId: timeNs, timeNs },
})

const socket = (timeNs: bigint): PendingEvent => ({
  kind: 'other',
  event: {
    kind: 'socket',
    process,
    streamId: timeNs,
    timeNs,
    cookie: 1n,
    confidence: 'exact',
    role: 'client',
    localAddress: Uint8Array.of(127, 0, 0, 1),
    localPort: 1,
    remoteAddress: Uint8Array.of(127, 0, 0, 1),
    remotePort: 2,
  },
})

const exec = (timeNs: bigint, exe: string): PendingEvent => {
  const told = { parentPid: 1, uid: 0, comm: exe, exe, argv: [] }
  return {
    kind: 'exec',
    event: { kind: 'exec', process, timeNs, cgroupId: 1n, ...told },
    info: { ...process, ...told, user: '', containerId: '', cgroup: '' },
    streams: [],
  }
}

describe('Backlog', () => {
  it('gives what the data ring has been read up to, in order', () => {
    const backlog = new Backlog()
    const [first, second, third] = [close(1n), exec(2n, '/second'), close(3n)]
    backlog.push(first, 100)
    backlog.push(second, 100)
    backlog.push(third, 200)
    assert.deepEqual(backlog.takeRead(99), [])
    assert.equal(backlog.nextImage(PID)?.exe, '/second')
    assert.deepEqual(backlog.takeRead(100), [first, second])
    assert.equal(backlog.nextImage(PID), undefined)
    assert.deepEqual(backlog.takeRead(Number.POSITIVE_INFINITY), [third])
    assert.deepEqual(backlog.takeRead(Number.POSITIVE_INFINITY), [])
  })

  it('gives an exec before the new program’s data, not before the old one’s', () => {
    const backlog = new Backlog()
    const [oldEnd, change, found, newEnd, others] = [
      close(1n),
      exec(2n, '/second'),
      socket(4n),
      close(5n),
      close(1n, 7),
    ]
    for (const each of [oldEnd, others, change, found, newEnd]) backlog.push(each, 100)
    assert.deepEqual(backlog.takeReplaced(PID, 1n), [])
    assert.deepEqual(backlog.takeReplaced(PID, 3n), [oldEnd, change, found])
    assert.equal(backlog.nextImage(PID), undefined)
    assert.deepEqual(backlog.takeRead(100), [others, newEnd])
  })

  it('takes one exec after the other', () => {
    const backlog = new Backlog()
    const [first, between, second, after] = [exec(2n, '/a'), socket(3n), exec(5n, '/b'), socket(6n)]
    for (const each of [first, between, second, after]) backlog.push(each, 100)
    assert.deepEqual(backlog.takeReplaced(PID, 3n), [first, between])
    assert.equal(backlog.nextImage(PID)?.exe, '/b')
    assert.deepEqual(backlog.takeReplaced(PID, 6n), [second, after])
  })
})
