/** Objects as JSON lines: {"key", "contentType", "size", and "text" or "base64"}. */
import type { Writable } from 'node:stream'
import type { ObjectStore, PutOutcome, StoredObject } from './store.js'

/** Bytes waiting for a slow reader; more objects are refused and counted. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024

export interface StdoutStoreStats {
  readonly storedObjects: number
  readonly dropped: number
}

export class StdoutStore implements ObjectStore {
  readonly name: string
  readonly #output: Writable
  #storedObjects = 0
  #dropped = 0

  constructor(name: string, output: Writable) {
    this.name = name
    this.#output = output
  }

  async put(object: StoredObject, contentType: string, chunks: readonly Uint8Array[]): Promise<PutOutcome> {
    if (this.#output.writableLength > MAX_WAITING_BYTES) {
      this.#dropped++
      throw new Error(`store ${this.name}: standard output is not read`)
    }
    const { key, size } = object
    const line = JSON.stringify({ key, contentType, size, ...contentOf(Buffer.concat(chunks)) })
    this.#storedObjects++
    this.#output.write(`${line}\n`)
    return 'stored'
  }

  stats(): StdoutStoreStats {
    return { storedObjects: this.#storedObjects, dropped: this.#dropped }
  }

  async close(graceMs: number): Promise<void> {
    if (this.#output.writableLength === 0 || this.#output.destroyed) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs)
      this.#output.write('', () => {
        clearTimeout(timer)
        resolve()
      })
    })
  }
}

/** Text where the bytes are UTF-8. */
function contentOf(bytes: Buffer): { text: string } | { base64: string } {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) }
  } catch {
    return { base64: bytes.toString('base64') }
  }
}
