/** One process at a time for a directory. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FILE = 'lock'
/** Place of the start time behind the command's closing parenthesis in /proc/PID/stat (proc(5): field 22). */
const START_TIME_FIELD = 19

/**
 * Makes the directory if it is absent and takes it; returns how to give it back. A process that ended without
 * giving it back, killed or crashed, no longer has it. Throws if another has it.
 */
export function lockDirectory(directory: string): () => void {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, FILE)
  const self = `${process.pid} ${startTimeOf(process.pid)}`
  const owner = readIfThere(path)
  if (owner !== undefined && isAlive(owner)) {
    throw new Error(
      `${directory} is in use by process ${owner.split(' ')[0]}; give each agent its own data_dir`,
    )
  }
  if (owner !== undefined) rmSync(path, { force: true })
  writeFileSync(path, self, { flag: 'wx', mode: 0o600 })
  return () => rmSync(path, { force: true })
}

/** The same process, not another that got its number since. */
function isAlive(owner: string): boolean {
  const [pid = '', startTime] = owner.split(' ')
  return /^\d+$/.test(pid) && startTime !== undefined && startTimeOf(Number(pid)) === startTime
}

/** Clock ticks since boot; empty if there is no such process. */
function startTimeOf(pid: number): string {
  const stat = readIfThere(`/proc/${pid}/stat`) ?? ''
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START_TIME_FIELD] ?? ''
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) {
      return undefined
    }
    throw error
  }
}
