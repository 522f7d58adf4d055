/** Object stores by their configuration. A new one is a file, its variant in the schema, and its case here. */
import type { Writable } from 'node:stream'
import type { SecretReference, StoreConfig } from '../../../common/config/schema.js'
import { createDirectoryStore } from './directory.js'
import { createS3Store } from './s3.js'
import { StdoutStore, type StdoutStoreStats } from './stdout.js'
import type { UploadQueue, UploadStats } from './upload-queue.js'

export { type MemoryObject, MemoryStore } from './memory.js'
export type { StdoutStoreStats } from './stdout.js'
export type { ObjectStore, PutOutcome, StoredObject } from './store.js'
export type { UploadStats } from './upload-queue.js'

export interface StoreDependencies {
  /** Reads a secret; throws if it is not there. */
  secretOf(reference: SecretReference): string
  readonly output: Writable
}

/** A store with its counters. */
export type ConfiguredStore =
  | { readonly type: 's3' | 'directory'; readonly store: UploadQueue; stats(): UploadStats }
  | { readonly type: 'stdout'; readonly store: StdoutStore; stats(): StdoutStoreStats }

/** Throws if the credentials of an S3 store are incomplete or cannot be read. */
export function createStore(config: StoreConfig, dependencies: StoreDependencies): ConfiguredStore {
  switch (config.type) {
    case 's3': {
      const store = createS3Store(config, (reference) => dependencies.secretOf(reference))
      return { type: 's3', store, stats: () => store.stats() }
    }
    case 'directory': {
      const store = createDirectoryStore(config)
      return { type: 'directory', store, stats: () => store.stats() }
    }
    case 'stdout': {
      const store = new StdoutStore(config.name, dependencies.output)
      return { type: 'stdout', store, stats: () => store.stats() }
    }
  }
}
