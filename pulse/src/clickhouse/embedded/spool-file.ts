/** The body of an insert on its way to the engine: a file with a random name that lives as long as the insert. */
import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'

/** The body, inflated, is larger than allowed. */
export class BodyTooLargeError extends Error {
  constructor(limitBytes: number) {
    super(`the request body is larger than ${limitBytes} bytes`)
  }
}

export interface SpoolFile {
  readonly path: string
  readonly bytes: number
}

/** Writes the body to a new file below `directory`. On failure nothing is left and it throws. */
export async function spoolBody(
  request: IncomingMessage,
  directory: string,
  maxBytes: number,
): Promise<SpoolFile> {
  const path = join(directory, `${randomUUID()}.rows`)
  const count = countBytes(maxBytes)
  try {
    const file = createWriteStream(path, { flags: 'wx', mode: 0o600 })
    if (request.headers['content-encoding'] === 'gzip') {
      await pipeline(request, createGunzip(), count.stream, file)
    } else await pipeline(request, count.stream, file)
  } catch (error) {
    await rm(path, { force: true })
    throw error
  }
  return { path, bytes: count.bytes() }
}

/** The body as text, inflated; for statements. Throws BodyTooLargeError. */
export async function readBodyText(request: IncomingMessage, maxBytes: number): Promise<string> {
  const count = countBytes(maxBytes)
  const chunks: Buffer[] = []
  const source = request.headers['content-encoding'] === 'gzip' ? request.pipe(createGunzip()) : request
  await pipeline(source, count.stream, async (parts: AsyncIterable<Buffer>) => {
    for await (const part of parts) chunks.push(part)
  })
  return Buffer.concat(chunks).toString('utf8')
}

function countBytes(maxBytes: number): { stream: Transform; bytes: () => number } {
  let bytes = 0
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes > maxBytes) done(new BodyTooLargeError(maxBytes))
      else done(null, chunk)
    },
  })
  return { stream, bytes: () => bytes }
}
