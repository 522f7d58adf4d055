/** A piece of an exchange that lies in a store: what an event says about it. */
import type { StoredObject } from '../stores/store.js'

export type ArtifactKind = 'http_headers' | 'http_request_body' | 'http_response_body'

export interface Artifact {
  readonly kind: ArtifactKind
  readonly object: StoredObject
  /** True if the store holds less than the message had. */
  readonly truncated: boolean
  readonly contentType: string
  /** ObjectStore.name. */
  readonly store: string
}
