/**
 * A segment file of the spool, append-only.
 *
 *   header: "CTSPOOL1", stream id (16 bytes), sequence of the first record (u64)
 *   record: length of the body (u32), CRC-32 of sequence and body (u32), sequence (u64), body
 *
 * Integers are little endian. A body is a serialized cleartap.pulse.v1.EventBatch. A record that is cut short
 * or fails its checksum ends the readable part.
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { crc32 } from 'node:zlib'

const MAGIC = Buffer.from('CTSPOOL1')
export const SEGMENT_HEADER_BYTES = 32
const RECORD_HEADER_BYTES = 16
/** No batch is longer: what claims to be is damaged. */
const MAX_BODY_BYTES = 64 * 1024 * 1024

export interface SpoolRecord {
  readonly sequence: number
  readonly body: Buffer
}

/** Where a record lies. */
interface Place {
  readonly sequence: number
  readonly bodyAt: number
  readonly bodyBytes: number
  readonly crc: number
}

/** Makes a segment file, which must not exist; returns its descriptor, open for appending. */
export function createSegment(path: string, streamId: Uint8Array, firstSequence: number): number {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  MAGIC.copy(header)
  header.set(streamId, 8)
  header.writeBigUInt64LE(BigInt(firstSequence), 24)
  const descriptor = openSync(path, 'wx', 0o600)
  writeAll(descriptor, header, 0)
  return descriptor
}

/** Appends a record at a place in the file; returns the bytes written. */
export function appendRecord(descriptor: number, at: number, sequence: number, body: Uint8Array): number {
  const record = Buffer.allocUnsafe(RECORD_HEADER_BYTES + body.length)
  record.writeUInt32LE(body.length, 0)
  record.writeBigUInt64LE(BigInt(sequence), 8)
  record.set(body, RECORD_HEADER_BYTES)
  record.writeUInt32LE(crc32(record.subarray(8)), 4)
  writeAll(descriptor, record, at)
  return record.length
}

function writeAll(descriptor: number, bytes: Uint8Array, at: number): void {
  let done = 0
  while (done < bytes.length) done += writeSync(descriptor, bytes, done, bytes.length - done, at + done)
}

/** Reads the records of a segment in order. */
export class SegmentReader {
  #at = SEGMENT_HEADER_BYTES
  readonly #descriptor: number
  readonly #header = Buffer.alloc(RECORD_HEADER_BYTES)

  constructor(path: string) {
    this.#descriptor = openSync(path, 'r')
  }

  /** Place behind the last record read. */
  get position(): number {
    return this.#at
  }

  /** The stream that the segment belongs to; undefined if this is no segment. */
  streamId(): Buffer | undefined {
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
    const isWhole = readSync(this.#descriptor, header, 0, header.length, 0) === header.length
    return isWhole && header.subarray(0, 8).equals(MAGIC) ? header.subarray(8, 24) : undefined
  }

  /** True if bytes follow that are no whole record. */
  hasTornTail(): boolean {
    return fstatSync(this.#descriptor).size > this.#at
  }

  /** The next record, or undefined where the readable part ends (as of now). */
  next(): SpoolRecord | undefined {
    const place = this.#place()
    if (place === undefined) return undefined
    const checked = Buffer.allocUnsafe(8 + place.bodyBytes)
    const read = readSync(this.#descriptor, checked, 0, checked.length, place.bodyAt - 8)
    if (read !== checked.length || crc32(checked) !== place.crc) return undefined
    this.#at = place.bodyAt + place.bodyBytes
    return { sequence: place.sequence, body: checked.subarray(8) }
  }

  /** Passes over whole records below a sequence. */
  skipTo(sequence: number): void {
    for (;;) {
      const at = this.#at
      const record = this.next()
      if (record === undefined || record.sequence >= sequence) {
        this.#at = at
        return
      }
    }
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  #place(): Place | undefined {
    const header = this.#header
    if (readSync(this.#descriptor, header, 0, header.length, this.#at) !== header.length) return undefined
    const bodyBytes = header.readUInt32LE(0)
    if (bodyBytes === 0 || bodyBytes > MAX_BODY_BYTES) return undefined
    return {
      sequence: Number(header.readBigUInt64LE(8)),
      bodyAt: this.#at + RECORD_HEADER_BYTES,
      bodyBytes,
      crc: header.readUInt32LE(4),
    }
  }
}
