import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { userInfo } from 'node:os'
import type { ExecEvent, ProcessKey } from '../bpf/events.js'
import { isIgnored } from './ignore.js'
import { containerIdOf, readArgv, readCgroup, readExe, readStat, readUid } from './proc.js'
import { ProcessTable } from './table.js'
import { parsePasswd } from './users.js'

const GONE = 2 ** 22 - 3

function execOf(process: ProcessKey, changes: Partial<ExecEvent> = {}): ExecEvent {
  return {
    kind: 'exec',
    process,
    parentPid: 1,
    timeNs: process.startNs,
    uid: 0,
    cgroupId: 1n,
    comm: 'short',
    exe: '/usr/bin/short',
    argv: ['short', '-x'],
    ...changes,
  }
}

function tableWith(maxProcesses = 100) {
  const clock = { ms: 0 }
  return { clock, table: new ProcessTable({ maxProcesses, rememberMs: 5000, now: () => clock.ms }) }
}

describe('ProcessTable', () => {
  it('knows from exec what is gone before anyone can look', () => {
    const { table } = tableWith()
    const key = { pid: GONE, startNs: 123n }
    table.onExec(table.describe(execOf(key)))
    const info = table.lookup(key)
    assert.deepEqual(
      [info.exe, info.comm, info.argv, info.uid],
      ['/usr/bin/short', 'short', ['short', '-x'], 0],
    )
    assert.equal(info.user, 'root')
  })

  it('remembers an ended process for the given time, then no longer', () => {
    const { table, clock } = tableWith()
    const key = { pid: GONE, startNs: 123n }
    table.onExec(table.describe(execOf(key)))
    table.onExit({ kind: 'exit', process: key, timeNs: 5n, status: 0 })
    assert.equal(table.size, 0)
    clock.ms = 4999
    assert.equal(table.lookup(key).comm, 'short')
    clock.ms = 5001
    const other = { pid: GONE - 1, startNs: 9n }
    table.onExec(table.describe(execOf(other)))
    table.onExit({ kind: 'exit', process: other, timeNs: 5n, status: 0 })
    assert.equal(table.lookup(key).comm, '')
  })

  it('tells two processes of one pid apart, and ignores an exit of the earlier', () => {
    const { table } = tableWith()
    const first = { pid: GONE, startNs: 1n }
    const second = { pid: GONE, startNs: 2n }
    table.onExec(table.describe(execOf(first, { comm: 'first' })))
    table.onExit({ kind: 'exit', process: first, timeNs: 3n, status: 0 })
    table.onExec(table.describe(execOf(second, { comm: 'second' })))
    table.onExit({ kind: 'exit', process: first, timeNs: 4n, status: 0 })
    assert.equal(table.lookup(first).comm, 'first')
    assert.equal(table.lookup(second).comm, 'second')
    assert.equal(table.size, 1)
  })

  it('takes a fork for its parent until it execs', () => {
    const { table } = tableWith()
    const parent = { pid: GONE, startNs: 1n }
    const child = { pid: GONE - 1, startNs: 2n }
    table.onExec(table.describe(execOf(parent)))
    table.onFork({ kind: 'fork', process: child, parentPid: parent.pid, timeNs: 2n })
    assert.equal(table.lookup(child).exe, '/usr/bin/short')
    assert.equal(table.lookup(child).parentPid, parent.pid)
    table.onExec(table.describe(execOf(child, { exe: '/usr/bin/other', comm: 'other' })))
    assert.equal(table.lookup(child).exe, '/usr/bin/other')
    assert.equal(table.lookup(parent).exe, '/usr/bin/short')
  })

  it('reads what runs already from /proc and takes the exact start time when it comes', async () => {
    const child = spawn('/bin/sleep', ['60'])
    try {
      const { table } = tableWith(100_000)
      const found = table.scan().find((info) => info.pid === child.pid)
      assert.ok(found)
      assert.equal(found.user, userInfo().username)
      assert.equal(found.parentPid, process.pid)
      const exact = { pid: found.pid, startNs: found.startNs + 1_234_567n }
      const info = table.lookup(exact)
      assert.match(info.exe, /\/sleep$/)
      assert.deepEqual(info.argv, ['/bin/sleep', '60'])
      assert.equal(info.startNs, exact.startNs)
      const reused = { pid: found.pid, startNs: found.startNs + 10_000_000_000n }
      assert.equal(table.lookup(reused).exe, '', 'another start time is another process')
    } finally {
      child.kill()
    }
  })

  it('holds no more than its limit and counts what had to go', () => {
    const { table } = tableWith(10)
    for (let i = 0; i < 25; i++) table.onExec(table.describe(execOf({ pid: GONE - i, startNs: BigInt(i) })))
    assert.equal(table.size, 10)
    assert.equal(table.evicted, 15)
    assert.equal(table.lookup({ pid: GONE - 24, startNs: 24n }).comm, 'short')
  })

  it('has an answer for a process that nobody knows', () => {
    const { table } = tableWith()
    const info = table.lookup({ pid: GONE, startNs: 7n })
    assert.deepEqual([info.pid, info.startNs, info.comm, info.exe], [GONE, 7n, '', ''])
  })
})

describe('reading /proc', () => {
  it('is undefined or empty for a process that is gone', () => {
    assert.equal(readStat(GONE), undefined)
    assert.equal(readExe(GONE), undefined)
    assert.equal(readUid(GONE), undefined)
    assert.equal(readCgroup(GONE), undefined)
    assert.deepEqual(readArgv(GONE), [])
  })

  it('finds the container in the paths that runtimes make', () => {
    const id = 'a1'.repeat(32)
    const paths = [
      `/docker/${id}`,
      `/system.slice/docker-${id}.scope`,
      `/kubepods.slice/kubepods-pod1.slice/cri-containerd-${id}.scope`,
      `/kubepods/besteffort/pod2/crio-${id}`,
      `/machine.slice/libpod-${id}.scope/container`,
    ]
    for (const path of paths) assert.equal(containerIdOf(path), id, path)
    for (const path of ['/', '/user.slice/session-1.scope', `/docker/${id}0`, `/docker/${id.slice(1)}`])
      assert.equal(containerIdOf(path), '', path)
  })

  it('takes the first name of a uid and skips broken lines', () => {
    const names = parsePasswd('root:x:0:0::/root:/bin/sh\ntoor:x:0:0\nbroken\na:x:zz:1\nweb:x:33:33\n')
    assert.deepEqual(
      [...names],
      [
        [0, 'root'],
        [33, 'web'],
      ],
    )
  })
})

describe('isIgnored', () => {
  const rules = { exe: ['/usr/bin/curl', '/opt/agent/'], comm: ['nginx'] }
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['/usr/bin/curl', 'curl', true],
    ['/usr/bin/curl2', 'curl2', false],
    ['/opt/agent/bin/x', 'x', true],
    ['/opt/agent', 'agent', false],
    ['/opt/agents/x', 'x', false],
    ['/usr/sbin/nginx', 'nginx', true],
    ['', '', false],
  ]
  for (const [exe, comm, expected] of cases)
    it(`${expected ? 'leaves' : 'does not leave'} ${exe || 'a nameless process'} alone`, () =>
      assert.equal(isIgnored(rules, { exe, comm }), expected))
})
