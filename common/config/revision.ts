/** A configuration revision: the document that the control plane hands to agents. */
import { z } from 'zod'
import { parseConfig } from './load.js'
import { type CaptureConfig, captureSchema } from './schema.js'

/** Longest document, bytes of UTF-8. */
export const maxRevisionBytes = 256 * 1024

/** YAML: {capture: …}, the agent's section of that name. */
export const revisionSchema = z.strictObject({ capture: captureSchema.unwrap() })

/** Checks a document. Throws ConfigError, whose problems say where, what was found and what is accepted. */
export function parseRevision(content: string): CaptureConfig {
  return parseConfig(revisionSchema, content, 'revision').capture
}
