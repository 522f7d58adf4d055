/** What the flags of watch and run mean, checked. */
import { InvalidArgumentError } from 'commander'
import { parseBytes, parseDurationMs } from './quantities.js'

export type ColorChoice = 'auto' | 'always' | 'never'

export interface OutputOptions {
  readonly json: boolean
  readonly maxBody: number
  /** The line of column titles. */
  readonly headers: boolean
  readonly color: ColorChoice
}

export interface WatchOptions extends OutputOptions {
  /** Empty: every process. */
  readonly pid: readonly number[]
  readonly count?: number
  /** Milliseconds. */
  readonly timeout?: number
  readonly failIfEmpty: boolean
}

export interface RunOptions extends OutputOptions {
  /** FILE, or "-" for standard output; absent: standard error. */
  readonly write?: string
}

export interface AgentOptions {
  readonly config: string
}

export function pidOption(text: string, earlier: readonly number[]): number[] {
  const pid = Number(text)
  if (!/^\d+$/.test(text) || pid < 1 || pid > 2 ** 22) {
    throw new InvalidArgumentError('Expected a process id, such as 4711.')
  }
  return [...earlier, pid]
}

export function countOption(text: string): number {
  const count = Number(text)
  if (!/^\d+$/.test(text) || count < 1 || !Number.isSafeInteger(count)) {
    throw new InvalidArgumentError('Expected a whole number from 1.')
  }
  return count
}

export function timeoutOption(text: string): number {
  const ms = parseDurationMs(text)
  if (ms === undefined) throw new InvalidArgumentError('Expected a time such as 30s, 500ms or 5m.')
  return ms
}

export function bytesOption(text: string): number {
  const bytes = parseBytes(text)
  if (bytes === undefined) throw new InvalidArgumentError('Expected a size such as 4096, 64k or 8M.')
  return bytes
}

/** Whether to color what goes to an output: NO_COLOR and TERM=dumb count for "auto". */
export function wantsColor(choice: ColorChoice, isTerminal: boolean, env: NodeJS.ProcessEnv): boolean {
  switch (choice) {
    case 'always':
      return true
    case 'never':
      return false
    case 'auto':
      return isTerminal && !env['NO_COLOR'] && env['TERM'] !== 'dumb'
  }
}
