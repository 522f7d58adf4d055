/** Objects in an S3 bucket. The only folder of the agent that imports the AWS client. */
import { PutObjectCommand, S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import type { SecretReference, StoreConfig } from '../../../common/config/schema.js'
import type { StoredObject } from './store.js'
import { type ObjectWriter, UploadQueue, type WriteOutcome } from './upload-queue.js'

const CONNECT_TIMEOUT_MS = 5000
const REQUEST_TIMEOUT_MS = 60_000

export type S3StoreConfig = Extract<StoreConfig, { type: 's3' }>

/** Throws if only one half of the credentials is given, or a secret cannot be read. */
export function createS3Store(
  config: S3StoreConfig,
  secretOf: (reference: SecretReference) => string,
): UploadQueue {
  const client = new S3Client({
    region: config.region,
    forcePathStyle: config.force_path_style,
    // Retries are the queue's, which counts them.
    maxAttempts: 1,
    // Other stores than AWS do not know the newer checksums.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      httpAgent: { maxSockets: config.max_concurrent_uploads },
      httpsAgent: { maxSockets: config.max_concurrent_uploads },
    },
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    ...credentialsOf(config, secretOf),
  })
  return new UploadQueue(new S3Writer(client, config.bucket), {
    name: config.name,
    maxConcurrent: config.max_concurrent_uploads,
    maxQueueBytes: config.max_queue_bytes,
    maxQueueAgeMs: config.max_queue_age_ms,
  })
}

function credentialsOf(config: S3StoreConfig, secretOf: (reference: SecretReference) => string) {
  const { access_key_id: id, secret_access_key: secret } = config
  if (id === undefined && secret === undefined) return {}
  if (id === undefined || secret === undefined) {
    throw new Error(
      `store ${config.name}: access_key_id and secret_access_key: got one of them, give both or none`,
    )
  }
  return { credentials: { accessKeyId: secretOf(id), secretAccessKey: secretOf(secret) } }
}

class S3Writer implements ObjectWriter {
  readonly #client: S3Client
  readonly #bucket: string

  constructor(client: S3Client, bucket: string) {
    this.#client = client
    this.#bucket = bucket
  }

  async write(
    object: StoredObject,
    contentType: string,
    chunks: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    const [first] = chunks
    const body = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks)
    try {
      await this.#client.send(
        new PutObjectCommand({
          Bucket: this.#bucket,
          Key: object.key,
          Body: body,
          ContentLength: object.size,
          ContentType: contentType,
        }),
        { abortSignal: signal },
      )
      return { kind: 'stored' }
    } catch (cause) {
      const error = new Error(`PUT ${object.key} to bucket ${this.#bucket}: ${messageOf(cause)}`, { cause })
      return { kind: isRefusal(cause) ? 'refused' : 'retryable', error }
    }
  }

  close(): void {
    this.#client.destroy()
  }
}

/** The request itself is not accepted: the same again would lead to the same. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof S3ServiceException)) return false
  const status = error.$metadata.httpStatusCode ?? 0
  return status >= 400 && status < 500 && status !== 408 && status !== 429
}

function messageOf(error: unknown): string {
  if (error instanceof S3ServiceException) return `${error.$metadata.httpStatusCode ?? 0} ${error.name}`
  return error instanceof Error ? error.message : String(error)
}
