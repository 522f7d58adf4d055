/** Runs a command for set-up. */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The checkout's absolute path. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** The pinned Node, once node_modules is there. */
export const pinnedNode = join(root, 'node_modules', 'node', 'bin', 'node')

export const say = (line) => process.stderr.write(`set-up: ${line}\n`)

/** With the places where Debian keeps programs for root (bpftool), which not every shell looks through. */
const searchPath = [process.env['PATH'] ?? '', '/usr/sbin', '/sbin'].join(delimiter)

/** Whether a program is found. */
export const hasProgram = (name) => {
  const directories = searchPath.split(delimiter)
  return directories.some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Runs to its end with both outputs on standard error; throws with hint if it fails. */
export const run = (command, args, hint, env = {}) => {
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: { ...process.env, PATH: searchPath, ...env },
  })
  if (status === 0) return
  const why = error?.message ?? (signal === null ? `exit code ${status}` : `ended by ${signal}`)
  throw new Error(`${command} ${args.join(' ')}: ${why}\n${hint}`)
}

/** Whether a command succeeds; its output is dropped. */
export const succeeds = (command, args) =>
  spawnSync(command, args, { cwd: root, stdio: 'ignore' }).status === 0
