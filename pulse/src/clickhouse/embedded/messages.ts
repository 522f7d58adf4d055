/** What the engine's child process and its parent tell each other over IPC. */

/** Parent to child, once, first. */
export interface StartMessage {
  readonly kind: 'start'
  readonly dataDir: string
  /** Bodies of inserts lie here while they are read. Made and removed by the parent. */
  readonly spoolDir: string
  /** Largest body of one insert. */
  readonly maxInsertBytes: number
  /** Fresh for this child; never in argv or the environment. */
  readonly secret: string
}

/** Parent to child: end in order. */
export interface StopMessage {
  readonly kind: 'stop'
  readonly graceMs: number
}

export type ParentMessage = StartMessage | StopMessage

/** Child to parent: serving, or why not (the child then exits). */
export type ChildMessage =
  | { readonly kind: 'ready'; readonly port: number }
  | { readonly kind: 'failed'; readonly reason: string; readonly locked: boolean }

/** The only user that the child knows. */
export const ENGINE_USER = 'cleartap'
