/** Objects as files below a directory, under their keys. */

import { mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { StoreConfig } from '../../../common/config/schema.js'
import { syncDirectory } from '../durable-file.js'
import type { StoredObject } from './store.js'
import { type ObjectWriter, UploadQueue, type WriteOutcome } from './upload-queue.js'

const MAX_CONCURRENT_WRITES = 8
const MAX_QUEUE_BYTES = 128 * 1024 * 1024
const MAX_QUEUE_AGE_MS = 5000
/** A key is made by the agent, but it becomes a path here: nothing that leads elsewhere. */
const KEY = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/

export type DirectoryStoreConfig = Extract<StoreConfig, { type: 'directory' }>

export function createDirectoryStore(config: DirectoryStoreConfig): UploadQueue {
  return new UploadQueue(new DirectoryWriter(config.path), {
    name: config.name,
    maxConcurrent: MAX_CONCURRENT_WRITES,
    maxQueueBytes: MAX_QUEUE_BYTES,
    maxQueueAgeMs: MAX_QUEUE_AGE_MS,
  })
}

/** Temporary file, sync, rename, sync of the directory: after a power failure a file is whole or not there. */
class DirectoryWriter implements ObjectWriter {
  readonly #root: string
  #temporaries = 0

  constructor(root: string) {
    this.#root = root
  }

  async write(
    object: StoredObject,
    _contentType: string,
    chunks: readonly Uint8Array[],
  ): Promise<WriteOutcome> {
    if (!KEY.test(object.key)) return { kind: 'refused', error: new Error(`not a key: ${object.key}`) }
    const path = join(this.#root, object.key)
    const temporary = `${path}.${process.pid}-${this.#temporaries++}.new`
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      await writeSynced(temporary, chunks)
      await rename(temporary, path)
      await syncDirectory(dirname(path))
      return { kind: 'stored' }
    } catch (cause) {
      await unlink(temporary).catch(() => {})
      return { kind: 'retryable', error: new Error(`cannot write ${path}`, { cause }) }
    }
  }

  close(): void {}
}

async function writeSynced(path: string, chunks: readonly Uint8Array[]): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    for (const chunk of chunks) await file.writeFile(chunk)
    await file.sync()
  } finally {
    await file.close()
  }
}
