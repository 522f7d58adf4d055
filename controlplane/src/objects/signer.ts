/** Signs downloads from the users' own buckets. The bytes never pass through here. */
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import type { ControlplaneConfig } from '../../../common/config/schema.js'

type StoreConfig = ControlplaneConfig['stores'][number]

/** v1/<org>/<yyyy>/<mm>/<dd>/<sha256 hex>: nothing else is ever signed. */
const keyPattern = /^v1\/[a-z0-9-]+\/\d{4}\/\d{2}\/\d{2}\/[0-9a-f]{64}$/

export const minValidForSeconds = 60
export const maxValidForSeconds = 300

/** A store's settings with its secrets read; both absent: the AWS SDK's own places. */
export interface SignerStore {
  readonly config: StoreConfig
  readonly accessKeyId: string | undefined
  readonly secretAccessKey: string | undefined
}

export type SignOutcome =
  | { readonly kind: 'signed'; readonly url: string; readonly expiresAtMs: number }
  | { readonly kind: 'unknown_store'; readonly message: string }
  | { readonly kind: 'invalid'; readonly field: 'key' | 'validFor'; readonly message: string }

export class ObjectSigner {
  readonly #stores: ReadonlyMap<string, { readonly client: S3Client; readonly bucket: string }>
  readonly #now: () => number

  constructor(stores: readonly SignerStore[], now: () => number) {
    this.#stores = new Map(
      stores.map((store) => [
        store.config.name,
        { client: createClient(store), bucket: store.config.bucket },
      ]),
    )
    this.#now = now
  }

  /**
   * Signs a GET of one object. The URL holds a signature: it is not to be logged.
   * @param store name, or empty for the only store.
   * @param validForSeconds 60 to 300.
   */
  async sign(store: string, key: string, validForSeconds: number): Promise<SignOutcome> {
    const target = this.#find(store)
    if (target === undefined) return { kind: 'unknown_store', message: this.#describeStores(store) }
    if (!keyPattern.test(key)) {
      const message = `expected a key such as v1/default/2026/01/31/<64 hex digits>; got ${quote(key)}`
      return { kind: 'invalid', field: 'key', message }
    }
    if (!(validForSeconds >= minValidForSeconds && validForSeconds <= maxValidForSeconds)) {
      const range = `${minValidForSeconds} s to ${maxValidForSeconds} s`
      return { kind: 'invalid', field: 'validFor', message: `expected ${range}; got ${validForSeconds} s` }
    }
    const expiresIn = Math.floor(validForSeconds)
    const signedAtMs = this.#now()
    const command = new GetObjectCommand({
      Bucket: target.bucket,
      Key: key,
      ResponseContentDisposition: 'attachment',
      ResponseContentType: 'application/octet-stream',
    })
    const signingDate = new Date(signedAtMs)
    const url = await getSignedUrl(target.client, command, { expiresIn, signingDate })
    return { kind: 'signed', url, expiresAtMs: Math.floor(signedAtMs / 1000) * 1000 + expiresIn * 1000 }
  }

  close(): void {
    for (const { client } of this.#stores.values()) client.destroy()
  }

  #find(store: string) {
    if (store !== '') return this.#stores.get(store)
    return this.#stores.size === 1 ? this.#stores.values().next().value : undefined
  }

  #describeStores(store: string): string {
    const names = [...this.#stores.keys()].map(quote).join(', ')
    return `no store ${quote(store)} is configured; known: ${names === '' ? 'none' : names}`
  }
}

/** Where browsers reach the buckets, as origins for the page's Content-Security-Policy. */
export function publicOrigins(stores: readonly StoreConfig[]): string[] {
  const origins = stores.map((store) => {
    const endpoint = store.public_endpoint ?? store.endpoint ?? `https://s3.${store.region}.amazonaws.com`
    const url = new URL(endpoint)
    return store.force_path_style ? url.origin : `${url.protocol}//${store.bucket}.${url.host}`
  })
  return [...new Set(origins)]
}

function createClient(store: SignerStore): S3Client {
  const { config, accessKeyId, secretAccessKey } = store
  const endpoint = config.public_endpoint ?? config.endpoint
  return new S3Client({
    region: config.region,
    forcePathStyle: config.force_path_style,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...(endpoint !== undefined && { endpoint }),
    ...(accessKeyId !== undefined &&
      secretAccessKey !== undefined && { credentials: { accessKeyId, secretAccessKey } }),
  })
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 120))
}
