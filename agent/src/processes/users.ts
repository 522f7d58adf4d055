/** User names of the host, from /etc/passwd; read again when the file changes. */
import { readFileSync, statSync } from 'node:fs'

const CHECK_INTERVAL_MS = 10_000

export class UserNames {
  readonly #path: string
  #names = new Map<number, string>()
  #modifiedMs = -1
  #checkedMs = -CHECK_INTERVAL_MS

  constructor(path = '/etc/passwd') {
    this.#path = path
  }

  /** The name, or the number as text for a user that has none. */
  nameOf(uid: number): string {
    this.#refresh()
    return this.#names.get(uid) ?? String(uid)
  }

  #refresh(): void {
    const nowMs = performance.now()
    if (nowMs - this.#checkedMs < CHECK_INTERVAL_MS) return
    this.#checkedMs = nowMs
    const modifiedMs = statSync(this.#path, { throwIfNoEntry: false })?.mtimeMs ?? 0
    if (modifiedMs === this.#modifiedMs) return
    this.#modifiedMs = modifiedMs
    this.#names = modifiedMs === 0 ? new Map() : parsePasswd(readFileSync(this.#path, 'utf8'))
  }
}

/** The first name of each uid. */
export function parsePasswd(text: string): Map<number, string> {
  const names = new Map<number, string>()
  for (const line of text.split('\n')) {
    const [name, , uid] = line.split(':')
    if (name === undefined || uid === undefined || !/^\d+$/.test(uid)) continue
    if (!names.has(Number(uid))) names.set(Number(uid), name)
  }
  return names
}
