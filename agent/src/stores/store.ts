/** Where headers and bodies go: the user's own store. */
import type { ObjectRole } from './backlog.js'

export interface StoredObject {
  /** v1/<org>/<yyyy>/<mm>/<dd>/<sha256 hex>. */
  readonly key: string
  /** 32 bytes. */
  readonly sha256: Uint8Array
  readonly size: number
}

/** underway: it waited as long as an event may; it is still being written, and counted if that fails. */
export type PutOutcome = 'stored' | 'underway'

export interface ObjectStore {
  /** Name that events carry. */
  readonly name: string
  /**
   * Takes an object. Resolves when an event may name it; rejects when it will not be stored (the store is
   * behind or closed, or refused it for good), with the reason. The same content under the same key is stored
   * once.
   * @param role What is refused first; absent: body.
   */
  put(
    object: StoredObject,
    contentType: string,
    chunks: readonly Uint8Array[],
    role?: ObjectRole,
  ): Promise<PutOutcome>
  /** Waits for what was taken, at most graceMs; gives up the rest and releases everything. Every put settles. */
  close(graceMs: number): Promise<void>
}
