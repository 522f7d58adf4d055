import type { Logger } from '../../../common/log.js'

/** What a verb may touch of the process that it runs in. */
export interface Terminal {
  readonly env: NodeJS.ProcessEnv
  readonly stdout: { readonly fd: number; readonly isTTY?: boolean }
  readonly stderr: { readonly fd: number; readonly isTTY?: boolean }
  readonly logger: Logger
  /** A line of ours for people, on standard error. */
  say(line: string): void
}
