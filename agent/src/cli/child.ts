import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'

const cannotExecute = 126
const notFound = 127

/** A command that runs with this process's own stdin, stdout and stderr. */
export interface Child {
  readonly pid: number
  /** Its exit code, or 128 and the number of the signal that ended it. */
  readonly exited: Promise<number>
  signal(name: NodeJS.Signals): void
}

/** A command that could not be started: exitCode is 127 if it was not found, else 126, as shells have it. */
export interface StartFailure {
  readonly exitCode: number
  readonly message: string
}

/** Starts a command, untouched: same environment, directory, process group and standard streams. */
export function startChild(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Child | StartFailure> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: 'inherit', env })
    const exited = exitCodeOf(child)
    child.once('error', (error) => resolve(startFailure(command, error)))
    child.once('spawn', () =>
      resolve({ pid: child.pid ?? 0, exited, signal: (name) => void child.kill(name) }),
    )
  })
}

function exitCodeOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    )
  })
}

function startFailure(command: string, error: Error): StartFailure {
  const code = 'code' in error ? error.code : undefined
  switch (code) {
    case 'ENOENT':
      return { exitCode: notFound, message: `${command}: command not found` }
    case 'EACCES':
      return { exitCode: cannotExecute, message: `${command}: permission denied` }
    default:
      return { exitCode: cannotExecute, message: `${command}: ${error.message}` }
  }
}
