/** What the agent remembers of its configuration across restarts: the last good revision and the last attempt. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { Logger } from '../../common/log.js'
import { writeDurably } from './durable-file.js'

const ref = {
  /** 64-bit, as text. */
  version: z.string().regex(/^[1-9]\d{0,19}$/),
  /** Of the content, hexadecimal. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
}

const storedRevisionSchema = z.strictObject({ ...ref, content: z.string() })

const storedAttemptSchema = z.strictObject({
  ...ref,
  state: z.enum(['applying', 'applied', 'rejected']),
  /** Why it was rejected, or empty. */
  error: z.string(),
  /** Unix epoch milliseconds. */
  atMs: z.number(),
  tries: z.int(),
})

export type StoredRevision = z.output<typeof storedRevisionSchema>
export type StoredAttempt = z.output<typeof storedAttemptSchema>

export class ConfigStore {
  readonly #directory: string
  readonly #log: Logger

  private constructor(directory: string, log: Logger) {
    this.#directory = directory
    this.#log = log
  }

  /** Uses the directory config/ below the agent's data directory, making both if absent. */
  static async open(dataDir: string, log: Logger): Promise<ConfigStore> {
    const directory = join(dataDir, 'config')
    await mkdir(directory, { recursive: true, mode: 0o700 })
    return new ConfigStore(directory, log)
  }

  /** Undefined if there is none, or the file is damaged (logged). */
  readLastGood(): StoredRevision | undefined {
    const revision = this.#read('last-good.json', storedRevisionSchema)
    if (revision === undefined || hashContent(revision.content) === revision.sha256) return revision
    this.#log.error({ version: revision.version }, 'the last good configuration is damaged: not used')
    return undefined
  }

  /** On disk when the promise resolves. */
  writeLastGood(revision: StoredRevision): Promise<void> {
    return writeDurably(join(this.#directory, 'last-good.json'), JSON.stringify(revision))
  }

  /** Undefined if there is none, or the file is damaged (logged). */
  readLastAttempt(): StoredAttempt | undefined {
    return this.#read('last-attempt.json', storedAttemptSchema)
  }

  /** On disk when the promise resolves. */
  writeLastAttempt(attempt: StoredAttempt): Promise<void> {
    return writeDurably(join(this.#directory, 'last-attempt.json'), JSON.stringify(attempt))
  }

  #read<Schema extends z.ZodType>(name: string, schema: Schema): z.output<Schema> | undefined {
    try {
      return schema.parse(JSON.parse(readFileSync(join(this.#directory, name), 'utf8')))
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      this.#log.error({ file: name, error }, 'a file of the configuration store cannot be read: not used')
      return undefined
    }
  }
}

/** SHA-256 of a document, hexadecimal. */
export function hashContent(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}
