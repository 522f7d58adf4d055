/** Tokens that clients hand back: signed, so that a changed or made-up one is refused. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { invalid } from './filter.js'

const KEY_BYTES = 32
const TAG_BYTES = 16
const MAX_TOKEN_CHARACTERS = 1024

/** Signs texts under a purpose and takes them apart again. */
export class TokenSigner {
  readonly #key: Uint8Array

  constructor(key: Uint8Array) {
    this.#key = key
  }

  sign(purpose: string, text: string): string {
    const body = Buffer.from(text)
    return Buffer.concat([this.#tag(purpose, body), body]).toString('base64url')
  }

  /** The text that was signed under the purpose. Throws INVALID_ARGUMENT with PAGE_TOKEN_MISMATCH. */
  open(purpose: string, token: string, field: string): string {
    const bytes = Buffer.from(token.slice(0, MAX_TOKEN_CHARACTERS), 'base64url')
    const body = bytes.subarray(TAG_BYTES)
    const tag = bytes.subarray(0, TAG_BYTES)
    const isOurs = tag.length === TAG_BYTES && timingSafeEqual(tag, this.#tag(purpose, body))
    if (!isOurs || token.length > MAX_TOKEN_CHARACTERS) {
      throw invalid(field, 'expected a token from an answer to the same question', 'PAGE_TOKEN_MISMATCH')
    }
    return body.toString()
  }

  #tag(purpose: string, body: Uint8Array): Buffer {
    return createHmac('sha256', this.#key)
      .update(purpose)
      .update('\0')
      .update(body)
      .digest()
      .subarray(0, TAG_BYTES)
  }
}

/** The signer of a data directory: its key is made once and kept, so tokens outlive a restart. */
export async function openTokenSigner(dataDir: string): Promise<TokenSigner> {
  const path = join(dataDir, 'token.key')
  const kept = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (kept?.length === KEY_BYTES) return new TokenSigner(kept)
  const key = randomBytes(KEY_BYTES)
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  await writeFile(`${path}.new`, key, { mode: 0o600 })
  await rename(`${path}.new`, path)
  return new TokenSigner(key)
}
