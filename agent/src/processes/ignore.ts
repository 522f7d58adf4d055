/** Which processes are left alone. */
import type { ProcessInfo } from '../exchange/exchange.js'

export interface IgnoreRules {
  /** Executable paths; one that ends in "/" stands for all below it. */
  readonly exe: readonly string[]
  /** Short names. */
  readonly comm: readonly string[]
}

export function isIgnored(rules: IgnoreRules, process: Pick<ProcessInfo, 'exe' | 'comm'>): boolean {
  if (rules.comm.includes(process.comm)) return true
  return rules.exe.some((path) => (path.endsWith('/') ? process.exe.startsWith(path) : process.exe === path))
}
