/** Payload, straight from the bucket: signed by the control plane, fetched and checked by the browser. */
import type { ArtifactRef } from '../../../gen/cleartap/event/v1/event.js'
import { type ContentCoding, contentCoding } from '../../ui-model/body-content.js'
import { formatBytes, toHex } from '../../ui-model/format.js'
import { reasonOf } from '../../ui-model/problem.js'
import { signObject } from './api.js'

/** Larger objects are not fetched into the page. */
const MAX_OBJECT_BYTES = 64 * 1024 * 1024
/** A compressed body is opened up to this size. */
const MAX_INFLATED_BYTES = 64 * 1024 * 1024

export interface VerifiedObject {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** False where the browser offers no SHA-256: the page came over plain HTTP from another machine. */
  readonly isVerified: boolean
}

/**
 * Fetches an object and checks size and SHA-256 against the event. Rejects with a sentence for people;
 * bytes that do not match are never returned.
 */
export async function fetchObject(artifact: ArtifactRef, signal: AbortSignal): Promise<VerifiedObject> {
  if (artifact.size > MAX_OBJECT_BYTES) {
    throw new Error(
      `The object has ${formatBytes(artifact.size)}; this page opens at most ${formatBytes(MAX_OBJECT_BYTES)}. Read it from the bucket: ${artifact.key}`,
    )
  }
  const url = new URL(await signObject(artifact, signal))
  const response = await fetchFromBucket(url, signal)
  const bytes = await readAtMost(response.body, Number(artifact.size) + 1)
  return { bytes, isVerified: await verify(bytes, artifact) }
}

async function fetchFromBucket(url: URL, signal: AbortSignal): Promise<Response> {
  const init: RequestInit = {
    signal,
    mode: 'cors',
    credentials: 'omit',
    referrerPolicy: 'no-referrer',
    redirect: 'error',
    cache: 'no-store',
  }
  const response = await fetch(url, init).catch((error: unknown) => {
    if (signal.aborted) throw error
    throw new Error(
      `The browser could not read from the bucket at ${url.origin} (${reasonOf(error)}). Either it cannot be reached from here, or its CORS rules do not allow ${location.origin}.`,
      { cause: error },
    )
  })
  if (response.ok) return response
  throw new Error(bucketRefusal(response.status, url.origin))
}

function bucketRefusal(status: number, origin: string): string {
  if (status === 404) {
    return 'The bucket no longer has this object (HTTP 404): it has expired or was deleted.'
  }
  if (status === 403) {
    return `The bucket at ${origin} refused the signed address (HTTP 403): wrong credentials in the control plane, or clocks that differ.`
  }
  return `The bucket at ${origin} answered HTTP ${status}.`
}

async function verify(bytes: Uint8Array<ArrayBuffer>, artifact: ArtifactRef): Promise<boolean> {
  if (BigInt(bytes.length) !== artifact.size) {
    const got = BigInt(bytes.length) > artifact.size ? 'more' : `only ${bytes.length}`
    throw new HashMismatch(`The event says ${artifact.size} bytes, the bucket holds ${got}.`)
  }
  if (!isSecureContext) return false
  const digest = toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
  const expected = toHex(artifact.sha256)
  if (digest === expected) return true
  throw new HashMismatch(
    `The event says SHA-256 ${expected.slice(0, 16)}…, the bucket's bytes have ${digest.slice(0, 16)}….`,
  )
}

/** The bucket holds something else than what was captured. */
export class HashMismatch extends Error {
  constructor(detail: string) {
    super(
      `Hash mismatch: the object in the bucket is not what the agent stored. ${detail} It is not shown, as it was changed or damaged.`,
    )
  }
}

export interface DecodedBody {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** What was undone or could not be, in words; undefined if there was nothing to undo. */
  readonly note: string | undefined
}

/** Undoes the content coding as far as the browser can. A cut or broken body gives what came before the break. */
export async function decodeBody(
  bytes: Uint8Array<ArrayBuffer>,
  contentEncoding: string | undefined,
): Promise<DecodedBody> {
  const coding: ContentCoding = contentCoding(contentEncoding)
  switch (coding.kind) {
    case 'none':
      return { bytes, note: undefined }
    case 'unknown':
      return {
        bytes,
        note: `Content-Encoding ${coding.name} is not undone here: these are the bytes as sent.`,
      }
    case 'known':
      return inflate(bytes, coding.format)
  }
}

async function inflate(bytes: Uint8Array<ArrayBuffer>, format: 'gzip' | 'deflate'): Promise<DecodedBody> {
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format))
  const collected: Uint8Array<ArrayBuffer>[] = []
  try {
    const plain = await readAtMost(inflated, MAX_INFLATED_BYTES, collected)
    const isCut = plain.length === MAX_INFLATED_BYTES
    return {
      bytes: plain,
      note: `Unpacked from ${format}${isCut ? `, the first ${formatBytes(plain.length)}` : ''}.`,
    }
  } catch {
    const plain = concat(collected)
    if (plain.length === 0) return { bytes, note: `Not valid ${format}: these are the bytes as sent.` }
    return { bytes: plain, note: `Unpacked from ${format} until the data broke off.` }
  }
}

/** Reads until the end or maxBytes; pieces go into collected as they come. */
async function readAtMost(
  stream: ReadableStream<Uint8Array<ArrayBuffer>> | null,
  maxBytes: number,
  collected: Uint8Array<ArrayBuffer>[] = [],
): Promise<Uint8Array<ArrayBuffer>> {
  if (stream === null) return new Uint8Array()
  const reader = stream.getReader()
  let left = maxBytes
  while (left > 0) {
    const piece = await reader.read()
    if (piece.done) return concat(collected)
    collected.push(piece.value.subarray(0, left))
    left -= Math.min(left, piece.value.length)
  }
  await reader.cancel()
  return concat(collected)
}

function concat(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let offset = 0
  for (const piece of pieces) {
    whole.set(piece, offset)
    offset += piece.length
  }
  return whole
}
