/** What a TLS library's file says about itself, and what it asks the capture to probe. */
import type { FlowDirection } from '../bpf/events.js'
import type { ElfFile } from './elf.js'

/** A function that moves plaintext: arguments are the TLS object, the buffer, its length. */
export interface CallProbe {
  readonly name: string
  readonly direction: FlowDirection
  /** How many bytes were moved: the result, or what the fourth or fifth argument points at. */
  readonly count: 'return' | 'fourth' | 'fifth'
  /** File offset of the probed instruction. */
  readonly offset: number
}

export interface ProbePlan {
  readonly calls: readonly CallProbe[]
  /** File offsets where a TLS object, the first argument, ends. */
  readonly ends: readonly number[]
}

export interface TlsLibrary {
  /** As events carry it. */
  readonly name: string
  /** Symbols that a file must define, or it is not looked at further. */
  readonly marker: readonly string[]
  /** Undefined if nothing in the file can be probed. */
  plan(elf: ElfFile): ProbePlan | undefined
}
