/** Batches that could not be decoded, kept for a person to look at: files, bounded, the oldest go first. */
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const MAX_FILES = 1000
const MAX_BYTES = 256 * 1024 * 1024

export class DeadLetters {
  readonly #directory: string
  #queue: Promise<unknown> = Promise.resolve()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Keeps the payload as sent. `name`: lower-case hex digits, "-" and digits only. */
  async park(name: string, payload: Uint8Array): Promise<void> {
    const done = this.#queue.then(() => this.#park(name, payload))
    this.#queue = done.catch(() => undefined)
    await done
  }

  async #park(name: string, payload: Uint8Array): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    await this.#makeRoom(payload.length)
    const path = join(this.#directory, `${name}.batch`)
    await writeFile(`${path}.new`, payload, { mode: 0o600 })
    await rename(`${path}.new`, path)
  }

  async #makeRoom(bytes: number): Promise<void> {
    const files = await Promise.all(
      (await readdir(this.#directory)).map(async (name) => {
        const path = join(this.#directory, name)
        const { size, mtimeMs } = await stat(path)
        return { path, size, mtimeMs }
      }),
    )
    files.sort((a, b) => a.mtimeMs - b.mtimeMs)
    let total = files.reduce((sum, file) => sum + file.size, bytes)
    let count = files.length + 1
    for (const file of files) {
      if (count <= MAX_FILES && total <= MAX_BYTES) return
      await rm(file.path, { force: true })
      total -= file.size
      count -= 1
    }
  }
}
