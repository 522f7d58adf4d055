import { closeSync, openSync, writeSync } from 'node:fs'

/** Where exchanges are printed. Lines are whole or not there. */
export interface LineOutput {
  /** True if a person reads it. */
  readonly isTerminal: boolean
  /** Writes one line and its newline, before it returns; nothing after the reader has gone. */
  write(line: string): void
  /** Resolves when the reader has gone. */
  readonly closed: Promise<void>
  /** Rejects every further line. */
  close(): void
}

/**
 * Lines to standard output or error. The write is synchronous: a slow reader slows the capture, whose ring then
 * fills and counts what it loses, instead of filling this process's memory.
 */
export function streamOutput(stream: { readonly fd: number; readonly isTTY?: boolean }): LineOutput {
  return fdOutput(stream.fd, stream.isTTY === true, () => {})
}

/** Lines to a file, made anew, readable by its owner only: they hold payload. Throws if it cannot be made. */
export function fileOutput(path: string): LineOutput {
  const fd = openSync(path, 'w', 0o600)
  return fdOutput(fd, false, () => closeSync(fd))
}

function fdOutput(fd: number, isTerminal: boolean, release: () => void): LineOutput {
  const readerGone = Promise.withResolvers<void>()
  let open = true
  return {
    isTerminal,
    closed: readerGone.promise,
    write(line) {
      if (!open) return
      try {
        writeAll(fd, Buffer.from(`${line}\n`))
      } catch (error) {
        if (!isBrokenPipe(error)) throw error
        open = false
        readerGone.resolve()
      }
    },
    close() {
      if (open) release()
      open = false
    },
  }
}

const pauseMs = 2
const pauseCell = new Int32Array(new SharedArrayBuffer(4))

function writeAll(fd: number, bytes: Uint8Array): void {
  let written = 0
  while (written < bytes.length) {
    try {
      written += writeSync(fd, bytes, written)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
      Atomics.wait(pauseCell, 0, 0, pauseMs)
    }
  }
}

function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE'
}
