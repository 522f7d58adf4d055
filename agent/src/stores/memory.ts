/** Objects kept in memory, for tests and for reading back. */
import type { ObjectStore, PutOutcome, StoredObject } from './store.js'

export interface MemoryObject {
  readonly object: StoredObject
  readonly contentType: string
  readonly bytes: Buffer
}

/** Holds at most `maxBytes`; more is refused and counted. */
export class MemoryStore implements ObjectStore {
  readonly name: string
  readonly objects = new Map<string, MemoryObject>()
  bytes = 0
  dropped = 0
  readonly #maxBytes: number

  constructor(name: string, maxBytes: number) {
    this.name = name
    this.#maxBytes = maxBytes
  }

  async put(object: StoredObject, contentType: string, chunks: readonly Uint8Array[]): Promise<PutOutcome> {
    if (this.objects.has(object.key)) return 'stored'
    if (this.bytes + object.size > this.#maxBytes) {
      this.dropped++
      throw new Error(`store ${this.name}: ${this.#maxBytes} bytes are in use`)
    }
    this.bytes += object.size
    this.objects.set(object.key, { object, contentType, bytes: Buffer.concat(chunks) })
    return 'stored'
  }

  async close(): Promise<void> {}
}
