/** The body of an insert on its way to the engine: a file with a random name that lives as long as the insert. */
import { randomUUID } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { createGunzip } from 'node:zlib'

/** The body, inflated, is larger than allowed. */
export class BodyTooLargeError extends Error {
  constructor(limitBytes: number) {
    super(`the request body is larger than ${limitBytes} bytes`)
  }
}

/** Writes the body to a new file below `directory` and returns its path. On failure nothing is left and it throws. */
export async function spoolBody(
  request: IncomingMessage,
  directory: string,
  maxBytes: number,
): Promise<string> {
  const path = join(directory, `${randomUUID()}.rows`)
  const file = openSync(path, 'wx', 0o600)
  try {
    // Written at once: the file lies in memory, where a thread's round trip costs more than the copy.
    for await (const part of limitedParts(request, maxBytes)) writeAll(file, part)
    return path
  } catch (error) {
    await rm(path, { force: true })
    throw error
  } finally {
    closeSync(file)
  }
}

/** The body as text, inflated; for statements. Throws BodyTooLargeError. */
export async function readBodyText(request: IncomingMessage, maxBytes: number): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of limitedParts(request, maxBytes)) parts.push(part)
  return Buffer.concat(parts).toString('utf8')
}

async function* limitedParts(request: IncomingMessage, maxBytes: number): AsyncGenerator<Buffer, void> {
  const isGzip = request.headers['content-encoding'] === 'gzip'
  const source: AsyncIterable<Buffer> = isGzip ? request.pipe(createGunzip()) : request
  let bytes = 0
  for await (const part of source) {
    bytes += part.length
    if (bytes > maxBytes) throw new BodyTooLargeError(maxBytes)
    yield part
  }
}

function writeAll(file: number, part: Buffer): void {
  let at = 0
  while (at < part.length) at += writeSync(file, part, at)
}
