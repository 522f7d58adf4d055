/** Reads one process from /proc. Every function answers undefined for a process that is gone or may not be read. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface ProcStat {
  readonly comm: string
  readonly parentPid: number
  /** Clock ticks (1/100 s) since boot. */
  readonly startTicks: number
}

const MAX_ARGV_BYTES = 512

/** Undefined instead of the errors that a vanishing process causes; others throw. */
function ifAlive<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM' || code === 'EINVAL')
      return undefined
    throw error
  }
}

/** Thread group ids of all processes. */
export function listPids(): number[] {
  return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? Number(name) : []))
}

export function readStat(pid: number): ProcStat | undefined {
  const text = ifAlive(() => readFileSync(`/proc/${pid}/stat`, 'latin1'))
  if (text === undefined) return undefined
  // The name stands in parentheses and may hold anything, parentheses too: the last one ends it.
  const open = text.indexOf('(')
  const close = text.lastIndexOf(')')
  const fields = text.slice(close + 2).split(' ')
  return {
    comm: text.slice(open + 1, close),
    parentPid: Number(fields[1]),
    startTicks: Number(fields[19]),
  }
}

/** Path of the executable in its mount namespace; a deleted one without the mark. */
export function readExe(pid: number): string | undefined {
  return ifAlive(() => readlinkSync(`/proc/${pid}/exe`))?.replace(/ \(deleted\)$/, '')
}

export function readArgv(pid: number): string[] {
  const text = ifAlive(() => readFileSync(`/proc/${pid}/cmdline`))
    ?.subarray(0, MAX_ARGV_BYTES)
    .toString('utf8')
  if (text === undefined || text === '') return []
  return (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0')
}

export function readUid(pid: number): number | undefined {
  const text = ifAlive(() => readFileSync(`/proc/${pid}/status`, 'latin1'))
  const found = text === undefined ? null : /^Uid:\s+(\d+)/m.exec(text)
  return found?.[1] === undefined ? undefined : Number(found[1])
}

/** Path in the unified hierarchy, else in the first that is not the root. */
export function readCgroup(pid: number): string | undefined {
  const text = ifAlive(() => readFileSync(`/proc/${pid}/cgroup`, 'utf8'))
  if (text === undefined) return undefined
  const paths = text
    .trim()
    .split('\n')
    .map((line) => line.split(':').slice(2).join(':'))
  return paths.find((path) => path !== '' && path !== '/') ?? '/'
}

/** 64 hexadecimal digits, alone or after a runtime's prefix: docker-, cri-containerd-, crio-, libpod-. */
export function containerIdOf(cgroup: string): string {
  return /(?:^|[/-])([0-9a-f]{64})(?:\.scope)?(?:\/|$)/.exec(cgroup)?.[1] ?? ''
}
