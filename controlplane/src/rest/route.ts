/** What every resource file is handed, and the shapes that OpenAPI sees. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { z } from 'zod'
import type { Logger } from '../../../common/log.js'
import type { QueryServiceClient } from '../../../gen/cleartap/pulse/v1/query.js'
import type { Sessions } from '../grpc/sessions.js'
import type { ObjectSigner } from '../objects/signer.js'
import type { ControlStore } from '../store/store.js'
import { ProblemError } from './problem.js'

export interface RestContext {
  readonly store: ControlStore
  readonly sessions: Sessions
  readonly signer: ObjectSigner
  readonly query: QueryServiceClient
  readonly log: Logger
  /** How long Pulse may take for an answer. */
  readonly pulseTimeoutMs: number
  /** Aborted when the server stops: ends tails. */
  readonly stopping: AbortSignal
}

/** Adds one resource's routes, below /api/v1. */
export type Resource = (app: FastifyInstance, context: RestContext) => void

/** Aborted when the caller goes or the server stops. */
export function callSignal(reply: FastifyReply, context: RestContext): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  return AbortSignal.any([gone.signal, context.stopping])
}

/** Asks Pulse for as long as the caller waits, but not for ever. @throws ProblemError 504 when the time is over. */
export async function askPulse<T>(
  reply: FastifyReply,
  context: RestContext,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const timeout = AbortSignal.timeout(context.pulseTimeoutMs)
  try {
    return await ask(AbortSignal.any([callSignal(reply, context), timeout]))
  } catch (cause) {
    if (!timeout.aborted) throw cause
    const detail = `Pulse did not answer within ${context.pulseTimeoutMs} ms`
    throw new ProblemError(504, 'PULSE_TIMEOUT', detail, { cause })
  }
}

/** A zod schema as JSON Schema for the OpenAPI document. */
export function documented(schema: z.ZodType, io: 'input' | 'output' = 'output') {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io })
  return rest
}

/** Refers to a message of the contracts by full name, or to the problem schema. */
export function ref(name: string) {
  return { $ref: `${name}#` }
}

/** Answers by status, problems for everything else. */
export function answers(status: number, description: string, schema: object) {
  return {
    [status]: { description, content: { 'application/json': { schema } } },
    default: {
      description: 'A problem, RFC 9457.',
      content: { 'application/problem+json': { schema: ref('Problem') } },
    },
  }
}
