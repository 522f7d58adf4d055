/** The agent's identity, the same towards Pulse and the control plane. */
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { UUID, uuidv7obj } from 'uuidv7'
import { writeDurably } from './durable-file.js'

/**
 * Reads the identity from the file agent-id in the directory; makes both if absent.
 * @returns a UUIDv7, 16 bytes.
 * @throws if the file holds something else: a new identity would make the agent a stranger.
 */
export async function loadAgentId(dataDir: string): Promise<Uint8Array> {
  const path = join(dataDir, 'agent-id')
  const text = readIfPresent(path)
  if (text === undefined) {
    const id = uuidv7obj()
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    await writeDurably(path, `${id.toString()}\n`)
    return Uint8Array.from(id.bytes)
  }
  return parse(text.trim(), path)
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

function parse(text: string, path: string): Uint8Array {
  try {
    const id = UUID.parse(text)
    if (id.getVersion() === 7) return Uint8Array.from(id.bytes)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new Error(`${path}: expected a UUID of version 7; got ${JSON.stringify(text.slice(0, 60))}`)
}
