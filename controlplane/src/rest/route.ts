/** What every resource file is handed, and the shapes that OpenAPI sees. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Logger } from '../../../common/log.js'
import type { QueryServiceClient } from '../../../gen/cleartap/pulse/v1/query.js'
import type { Sessions } from '../grpc/sessions.js'
import type { ObjectSigner } from '../objects/signer.js'
import type { ControlStore } from '../store/store.js'

export interface RestContext {
  readonly store: ControlStore
  readonly sessions: Sessions
  readonly signer: ObjectSigner
  readonly query: QueryServiceClient
  readonly log: Logger
  /** Aborted when the server stops: ends tails. */
  readonly stopping: AbortSignal
}

/** Adds one resource's routes, below /api/v1. */
export type Resource = (app: FastifyInstance, context: RestContext) => void

/** How long Pulse may take for an answer. */
const pulseTimeoutMs = 30_000

/** Aborted when the caller goes, the server stops, or, unless endless, the time is over. */
export function callSignal(request: FastifyRequest, context: RestContext, endless = false): AbortSignal {
  const gone = new AbortController()
  request.raw.socket.once('close', () => gone.abort())
  const signals = [gone.signal, context.stopping]
  return AbortSignal.any(endless ? signals : [...signals, AbortSignal.timeout(pulseTimeoutMs)])
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
