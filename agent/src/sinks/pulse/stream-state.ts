/** What a spool must remember over restarts, in a file that is replaced as a whole and synced. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { uuidv7obj } from 'uuidv7'
import { z } from 'zod'

const FILE = 'stream.json'

const sequence = z.int().min(0)

const holeSchema = z.strictObject({
  first: sequence,
  last: sequence,
  reason: z.enum(['unused_numbers', 'spool_full', 'spool_corrupt']),
})

const stateSchema = z.strictObject({
  /** UUIDv7, hex; made once for a spool directory. */
  streamId: z.string().regex(/^[0-9a-f]{32}$/),
  /** One more at each start. */
  epoch: z.int().min(1),
  /** Numbers up to this one may have been used: after a crash the next is above it. */
  reservedThrough: sequence,
  ackedThrough: sequence,
  /** Numbers that will never come and that Pulse has not passed yet. */
  holes: z.array(holeSchema).max(10_000),
})

export type Hole = z.output<typeof holeSchema>
export type StreamState = z.output<typeof stateSchema>

export function newStreamState(): StreamState {
  const streamId = Buffer.from(uuidv7obj().bytes).toString('hex')
  return { streamId, epoch: 0, reservedThrough: 0, ackedThrough: 0, holes: [] }
}

/** Undefined if there is none. Throws an error that names the file if it is damaged. */
export function readStreamState(directory: string): StreamState | undefined {
  const path = join(directory, FILE)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  try {
    return stateSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new Error(`${path} is damaged; move the directory ${directory} away to begin a new stream`, {
      cause,
    })
  }
}

/** On return the state survives a power failure. */
export function writeStreamState(directory: string, state: StreamState): void {
  const path = join(directory, FILE)
  const temporary = `${path}.new`
  const descriptor = openSync(temporary, 'w', 0o600)
  try {
    writeFileSync(descriptor, JSON.stringify(state))
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  renameSync(temporary, path)
  syncDirectory(dirname(path))
}

/** On return the names in a directory survive a power failure. */
export function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
