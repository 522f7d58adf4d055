/** Which process is behind a key: from exec events, else from /proc; for some seconds after its exit too. */
import type { ExecEvent, ExitEvent, ForkEvent, ProcessKey } from '../bpf/events.js'
import type { ProcessInfo } from '../exchange/exchange.js'
import { containerIdOf, listPids, readArgv, readCgroup, readExe, readStat, readUid } from './proc.js'
import { UserNames } from './users.js'

export interface ProcessTableOptions {
  /** Live and remembered processes; the oldest remembered goes first, then the oldest live one. */
  readonly maxProcesses: number
  /** How long an ended process is remembered. */
  readonly rememberMs: number
  /** Monotonic milliseconds. */
  readonly now: () => number
}

interface Entry {
  info: ProcessInfo
  /** Start as /proc tells it, in ticks, while the exact time is not known. */
  inexact: boolean
  endedMs: number | undefined
}

const NS_PER_TICK = 10_000_000n

/** Processes by pid and start time. Not more than `maxProcesses`; what had to go is counted. */
export class ProcessTable {
  /** Entries that had to go for want of room. */
  evicted = 0
  readonly #options: ProcessTableOptions
  readonly #users = new UserNames()
  readonly #live = new Map<number, Entry>()
  readonly #ended = new Map<string, Entry>()

  constructor(options: ProcessTableOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#live.size
  }

  /** Takes in what runs already. Returns what was found. */
  scan(): ProcessInfo[] {
    return listPids().flatMap((pid) => {
      const info = this.#readProc(pid, undefined)
      if (info === undefined) return []
      this.#add({ info, inexact: true, endedMs: undefined })
      return [info]
    })
  }

  /** What the process becomes, to be read while it lives; known here from onExec on. */
  describe(event: ExecEvent): ProcessInfo {
    const { pid } = event.process
    const cgroup = readCgroup(pid) ?? this.#live.get(pid)?.info.cgroup ?? ''
    return {
      ...event.process,
      parentPid: event.parentPid,
      uid: event.uid,
      comm: event.comm,
      exe: event.exe.startsWith('/') ? event.exe : (readExe(pid) ?? event.exe),
      argv: event.argv,
      user: this.#users.nameOf(event.uid),
      containerId: containerIdOf(cgroup),
      cgroup,
    }
  }

  onExec(info: ProcessInfo): void {
    this.#add({ info, inexact: false, endedMs: undefined })
  }

  /** A child is what its parent is until it execs; undefined if nobody knows that one. */
  onFork(event: ForkEvent, parent = this.#live.get(event.parentPid)?.info): ProcessInfo | undefined {
    if (parent === undefined) return undefined
    const info = { ...parent, ...event.process, parentPid: event.parentPid }
    this.#add({ info, inexact: false, endedMs: undefined })
    return info
  }

  onExit(event: ExitEvent): void {
    const { pid, startNs } = event.process
    const entry = this.#live.get(pid)
    if (entry === undefined || !matches(entry, startNs)) return
    this.#live.delete(pid)
    entry.endedMs = this.#options.now()
    this.#ended.set(keyText({ pid, startNs }), entry)
    this.#forgetOld()
  }

  /** The process as it is or was last known; one that nobody knows any more has an empty name and path. */
  lookup(key: ProcessKey): ProcessInfo {
    const live = this.#live.get(key.pid)
    if (live !== undefined && matches(live, key.startNs)) {
      if (live.inexact) {
        live.info = { ...live.info, startNs: key.startNs }
        live.inexact = false
      }
      return live.info
    }
    const ended = this.#ended.get(keyText(key))
    if (ended !== undefined) return ended.info
    const info = this.#readProc(key.pid, key.startNs)
    if (info === undefined) return unknownProcess(key)
    this.#add({ info, inexact: false, endedMs: undefined })
    return info
  }

  /** The live process of this pid, if it is known. */
  byPid(pid: number): ProcessInfo | undefined {
    return this.#live.get(pid)?.info
  }

  list(): ProcessInfo[] {
    return [...this.#live.values()].map((entry) => entry.info)
  }

  #readProc(pid: number, startNs: bigint | undefined): ProcessInfo | undefined {
    const stat = readStat(pid)
    const uid = readUid(pid)
    if (stat === undefined || uid === undefined) return undefined
    const startTicks = BigInt(stat.startTicks)
    if (startNs !== undefined && startNs / NS_PER_TICK !== startTicks) return undefined
    const cgroup = readCgroup(pid) ?? ''
    return {
      pid,
      startNs: startNs ?? startTicks * NS_PER_TICK,
      parentPid: stat.parentPid,
      uid,
      comm: stat.comm,
      exe: readExe(pid) ?? '',
      argv: readArgv(pid),
      user: this.#users.nameOf(uid),
      containerId: containerIdOf(cgroup),
      cgroup,
    }
  }

  #add(entry: Entry): void {
    this.#live.delete(entry.info.pid)
    this.#live.set(entry.info.pid, entry)
    if (this.#live.size + this.#ended.size <= this.#options.maxProcesses) return
    this.#forgetOld()
    if (this.#live.size + this.#ended.size <= this.#options.maxProcesses) return
    const first = this.#ended.keys().next()
    if (!first.done) this.#ended.delete(first.value)
    else this.#live.delete(this.#live.keys().next().value ?? -1)
    this.evicted++
  }

  #forgetOld(): void {
    const before = this.#options.now() - this.#options.rememberMs
    for (const [key, entry] of this.#ended) {
      if (entry.endedMs === undefined || entry.endedMs >= before) return
      this.#ended.delete(key)
    }
  }
}

function matches(entry: Entry, startNs: bigint): boolean {
  const known = entry.info.startNs
  return entry.inexact ? known / NS_PER_TICK === startNs / NS_PER_TICK : known === startNs
}

function keyText(key: ProcessKey): string {
  return `${key.pid}/${key.startNs}`
}

function unknownProcess(key: ProcessKey): ProcessInfo {
  return {
    ...key,
    parentPid: 0,
    uid: 0,
    comm: '',
    exe: '',
    argv: [],
    user: '',
    containerId: '',
    cgroup: '',
  }
}
