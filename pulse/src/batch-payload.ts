/** A batch's payload, inflated within limits and checked. */
import { crc32, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { Compression } from '../../gen/cleartap/event/v1/compression.js'
import type { EventBatch } from '../../gen/cleartap/pulse/v1/ingest.js'

/** Output is taken in pieces of this size at least; most payloads fit one, which then needs no copy. */
const MIN_PIECE_BYTES = 64 * 1024
/** Typical of events: more costs a second piece, less wastes memory. */
const USUAL_RATIO = 12

/** The payload, or why the batch will never be usable. */
export type Payload =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly reason: string }

/** Inflates at most maxInflatedBytes, stopping there, and checks the CRC-32. */
export function readPayload(batch: EventBatch, maxInflatedBytes: number): Payload {
  let bytes: Uint8Array
  try {
    bytes = inflate(batch, maxInflatedBytes)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { ok: false, reason: `payload does not inflate within ${maxInflatedBytes} bytes: ${reason}` }
  }
  if (bytes.length > maxInflatedBytes) {
    return { ok: false, reason: `payload has ${bytes.length} bytes, at most ${maxInflatedBytes} are taken` }
  }
  const sum = crc32(bytes)
  if (sum !== batch.crc32)
    return { ok: false, reason: `payload has CRC-32 ${sum}, the batch says ${batch.crc32}` }
  return { ok: true, bytes }
}

function inflate(batch: EventBatch, maxOutputLength: number): Uint8Array {
  const chunkSize = Math.min(maxOutputLength, Math.max(MIN_PIECE_BYTES, batch.payload.length * USUAL_RATIO))
  switch (batch.compression) {
    case Compression.COMPRESSION_UNSPECIFIED:
    case Compression.COMPRESSION_NONE:
      return plainView(batch.payload)
    case Compression.COMPRESSION_GZIP:
      return plainView(gunzipSync(batch.payload, { maxOutputLength, chunkSize }))
    case Compression.COMPRESSION_ZSTD:
      return plainView(zstdDecompressSync(batch.payload, { maxOutputLength, chunkSize }))
    default:
      throw new Error(`compression ${batch.compression} is not known`)
  }
}

/** A plain view: element access on a Buffer subclass is no faster and its subarray() costs more. */
function plainView(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
