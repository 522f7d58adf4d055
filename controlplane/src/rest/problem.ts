/** Errors of REST calls as RFC 9457 problems. */
import { STATUS_CODES } from 'node:http'
import type { FastifyReply } from 'fastify'
import { ClientError, Status } from 'nice-grpc'
import type { z } from 'zod'
import { detailsOf } from '../../../common/grpc-error.js'
import type { DocumentError } from '../store/attempts.js'

export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  /** UPPER_SNAKE_CASE: what programs switch on; the same codes as in gRPC. */
  readonly reason: string
  readonly errors?: readonly Partial<DocumentError>[]
}

export interface ProblemExtras {
  readonly errors?: readonly Partial<DocumentError>[]
  readonly retryAfterSeconds?: number
  readonly cause?: unknown
}

/** An expected refusal of a REST call. */
export class ProblemError extends Error {
  readonly status: number
  readonly reason: string
  readonly extras: ProblemExtras

  constructor(status: number, reason: string, detail: string, extras: ProblemExtras = {}) {
    super(detail, { cause: extras.cause })
    this.name = 'ProblemError'
    this.status = status
    this.reason = reason
    this.extras = extras
  }
}

export function toProblem(error: ProblemError): Problem {
  return {
    type: `urn:cleartap:problem:${error.reason.toLowerCase().replaceAll('_', '-')}`,
    title: STATUS_CODES[error.status] ?? 'Error',
    status: error.status,
    detail: error.message,
    reason: error.reason,
    ...(error.extras.errors && { errors: error.extras.errors }),
  }
}

export function sendProblem(reply: FastifyReply, error: ProblemError): FastifyReply {
  const { retryAfterSeconds } = error.extras
  if (retryAfterSeconds !== undefined) reply.header('retry-after', String(retryAfterSeconds))
  return reply
    .code(error.status)
    .type('application/problem+json')
    .send(JSON.stringify(toProblem(error)))
}

/** What was thrown as a problem. Undefined: a fault of ours. */
export function problemOf(error: unknown): ProblemError | undefined {
  if (error instanceof ProblemError) return error
  if (error instanceof ClientError) return fromPulse(error)
  if (!(error instanceof Error)) return undefined
  if (error.name === 'AbortError') {
    return new ProblemError(503, 'CANCELLED', 'the caller went, or the server stops', { cause: error })
  }
  return fromFastify(error)
}

/** @throws ProblemError 400 that lists what is wrong with each parameter. */
export function parseInput<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: string,
): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const errors = result.error.issues.map((issue) => ({
    path: issue.path.join('.'),
    code: issue.code.toUpperCase(),
    message:
      issue.code === 'unrecognized_keys' ? `${issue.message}; accepted: ${keysOf(schema)}` : issue.message,
  }))
  const detail = errors.map(({ path, message }) => `${path || where}: ${message}`).join('; ')
  throw new ProblemError(400, 'INVALID_ARGUMENT', detail, { errors })
}

function keysOf(schema: z.ZodType): string {
  return 'shape' in schema ? Object.keys(Object(schema.shape)).join(', ') : ''
}

function fromPulse(error: ClientError): ProblemError {
  const reason = detailsOf(error)?.reason || Status[error.code] || 'UNKNOWN'
  const extras = { cause: error }
  switch (error.code) {
    case Status.INVALID_ARGUMENT:
    case Status.OUT_OF_RANGE:
      return new ProblemError(400, reason, error.details, extras)
    case Status.NOT_FOUND:
      return new ProblemError(404, reason, error.details, extras)
    case Status.FAILED_PRECONDITION:
    case Status.ABORTED:
      return new ProblemError(409, reason, error.details, extras)
    case Status.RESOURCE_EXHAUSTED:
      return new ProblemError(429, reason, error.details, { ...extras, retryAfterSeconds: 1 })
    case Status.CANCELLED:
    case Status.UNAVAILABLE: {
      const detail = 'Pulse cannot be reached: events cannot be read now'
      return new ProblemError(503, 'PULSE_UNAVAILABLE', detail, { ...extras, retryAfterSeconds: 2 })
    }
    case Status.DEADLINE_EXCEEDED:
      return new ProblemError(504, reason, error.details, extras)
    default:
      return new ProblemError(502, reason, `Pulse failed: ${error.details}`, extras)
  }
}

/** Fastify's own refusals: unparsable or oversized bodies, unknown media types. */
function fromFastify(error: Error): ProblemError | undefined {
  if (!('statusCode' in error) || typeof error.statusCode !== 'number') return undefined
  if (error.statusCode < 400 || error.statusCode >= 500) return undefined
  const code = 'code' in error ? String(error.code) : ''
  const reason = code.replace(/^FST_ERR_(CTP_)?/, '') || 'BAD_REQUEST'
  return new ProblemError(error.statusCode, reason, error.message, { cause: error })
}
