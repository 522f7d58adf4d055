import { readTextFile } from './bounded-file.js'
import type { SecretReference } from './config/schema.js'
import { ExitError, exitCodes } from './exit-codes.js'

const maxSecretBytes = 64 * 1024

/**
 * The secret that a reference names. A file loses one trailing newline. Throws an ExitError that names
 * the variable or file, never the value, if there is none, it is empty, or a file is above 64 KiB.
 */
export function readSecret(reference: SecretReference, env: NodeJS.ProcessEnv): string {
  if ('env' in reference) return requireValue(env[reference.env], `environment variable ${reference.env}`)
  return requireValue(readBounded(reference.file).replace(/\r?\n$/, ''), `file ${reference.file}`)
}

function requireValue(value: string | undefined, source: string): string {
  if (value === undefined) throw new ExitError(exitCodes.config, `secret: ${source} is not set`)
  if (value === '') throw new ExitError(exitCodes.config, `secret: ${source} is empty`)
  return value
}

function readBounded(file: string): string {
  let text: string | undefined
  try {
    text = readTextFile(file, maxSecretBytes)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
    throw new ExitError(exitCodes.config, `secret: cannot read file ${file} (${code})`)
  }
  if (text !== undefined) return text
  throw new ExitError(exitCodes.config, `secret: file ${file} is larger than ${maxSecretBytes} bytes`)
}
