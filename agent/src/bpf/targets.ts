/** Who is captured: marks processes in the kernel's table. */
import type { ProcessInfo } from '../exchange/exchange.js'
import { type IgnoreRules, isIgnored } from '../processes/ignore.js'
import { enums } from './layout.js'
import type { BpfObject } from './native.js'

/**
 * all: every process but the ignored ones. only: these processes and what they fork. children: what the agent itself
 * forks from now on, and what those fork. The agent itself is never captured.
 */
export type CaptureTargets =
  | { readonly mode: 'all' }
  | { readonly mode: 'only'; readonly pids: readonly number[] }
  | { readonly mode: 'children' }

const { TARGET_ALL, TARGET_ONLY, TARGET_CHILDREN } = enums.target_mode
const { MARK_IGNORED, MARK_TARGET } = enums.process_mark

export function targetModeNumber(targets: CaptureTargets): number {
  return targets.mode === 'all' ? TARGET_ALL : targets.mode === 'only' ? TARGET_ONLY : TARGET_CHILDREN
}

export class TargetMarks {
  /** Marks that found the kernel's table full. */
  failed = 0
  readonly #object: BpfObject
  readonly #targets: CaptureTargets
  readonly #ignored = new Set<number>()
  #rules: IgnoreRules

  constructor(object: BpfObject, targets: CaptureTargets, rules: IgnoreRules) {
    this.#object = object
    this.#targets = targets
    this.#rules = rules
  }

  /** Marks what runs at the start. */
  start(processes: readonly ProcessInfo[]): void {
    if (this.#targets.mode === 'only') this.#markTree(this.#targets.pids, processes)
    for (const process of processes) this.apply(process)
  }

  /** Rules have changed. */
  replaceRules(rules: IgnoreRules, processes: readonly ProcessInfo[]): void {
    this.#rules = rules
    for (const process of processes) this.apply(process)
  }

  /** A process is new, or has become another program: the kernel has then taken its mark away. */
  apply(process: ProcessInfo): void {
    if (this.#targets.mode !== 'all') return
    if (isIgnored(this.#rules, process)) {
      this.#ignored.add(process.pid)
      this.#mark(process.pid, MARK_IGNORED)
    } else if (this.#ignored.delete(process.pid)) {
      this.#object.remove('processes', key(process.pid))
    }
  }

  onFork(pid: number, parentPid: number): void {
    if (this.#ignored.has(parentPid)) this.#ignored.add(pid)
    else this.#ignored.delete(pid)
  }

  /** The kernel takes marks away at exit; one that came too late goes here. */
  onExit(pid: number): void {
    if (this.#ignored.delete(pid)) this.#object.remove('processes', key(pid))
  }

  /** Whether the agent decided so, perhaps a moment after the process's first bytes. */
  isIgnored(pid: number): boolean {
    return this.#ignored.has(pid)
  }

  #mark(pid: number, mark: number): void {
    try {
      this.#object.update('processes', key(pid), key(mark))
    } catch {
      this.failed++
    }
  }

  #markTree(roots: readonly number[], processes: readonly ProcessInfo[]): void {
    const wanted = new Set(roots)
    for (let before = -1; before !== wanted.size; ) {
      before = wanted.size
      for (const process of processes) if (wanted.has(process.parentPid)) wanted.add(process.pid)
    }
    for (const pid of wanted) this.#mark(pid, MARK_TARGET)
  }
}

function key(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}
