/** Where headers and bodies go: the user's own store. */

export interface StoredObject {
  /** v1/<org>/<yyyy>/<mm>/<dd>/<sha256 hex>. */
  readonly key: string
  /** 32 bytes. */
  readonly sha256: Uint8Array
  readonly size: number
}

export interface ObjectStore {
  /** Name that events carry. */
  readonly name: string
  /**
   * Takes an object. Resolves when it is stored; rejects when it will not be (the queue is full or the
   * store refused it for good), with the reason. The same content under the same key is stored once.
   */
  put(object: StoredObject, contentType: string, chunks: readonly Uint8Array[]): Promise<void>
  /** Waits for what was taken, then releases everything. */
  close(): Promise<void>
}
