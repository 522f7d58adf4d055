import { type CallOptions, ClientError, type ClientMiddleware, ServerError, type Status } from 'nice-grpc'
import { Any } from '../gen/google/protobuf/any.js'
import {
  BadRequest,
  ErrorInfo,
  PreconditionFailure,
  QuotaFailure,
  ResourceInfo,
  RetryInfo,
} from '../gen/google/rpc/error_details.js'
import { Status as RpcStatus } from '../gen/google/rpc/status.js'

/** Trailer that holds a google.rpc.Status. */
export const statusDetailsKey = 'grpc-status-details-bin'

const errorDomain = 'cleartap.dev'
const typePrefix = 'type.googleapis.com/'

/** What may accompany a status, each as its google.rpc message. */
export interface ErrorDetails {
  /** More about the reason; never secret. */
  readonly metadata?: Readonly<Record<string, string>>
  readonly badRequest?: readonly { readonly field: string; readonly description: string }[]
  /** Only where trying again helps. */
  readonly retryDelayMs?: number
  readonly resource?: { readonly type: string; readonly name: string; readonly description?: string }
  readonly quota?: readonly { readonly subject: string; readonly description: string }[]
  readonly precondition?: readonly {
    readonly type: string
    readonly subject: string
    readonly description: string
  }[]
}

/** Details as a client sees them. */
export interface ReceivedErrorDetails extends ErrorDetails {
  /** UPPER_SNAKE_CASE; empty if the server gave none. */
  readonly reason: string
  readonly domain: string
}

/** A refusal with details. The server's error middleware puts them into the trailer. */
export class RpcError extends ServerError {
  readonly reason: string
  /** A serialised google.rpc.Status. */
  readonly statusBytes: Uint8Array

  constructor(code: Status, reason: string, message: string, statusBytes: Uint8Array) {
    super(code, message)
    this.name = 'RpcError'
    this.reason = reason
    this.statusBytes = statusBytes
  }
}

/** What a service method throws to refuse a call: canonical code, UPPER_SNAKE_CASE reason, words, details. */
export function rpcError(
  code: Status,
  reason: string,
  message: string,
  details: ErrorDetails = {},
): RpcError {
  const status = RpcStatus.fromPartial({ code, message, details: packDetails(reason, details) })
  return new RpcError(code, reason, message, RpcStatus.encode(status).finish())
}

function packDetails(reason: string, details: ErrorDetails): Any[] {
  const { badRequest, retryDelayMs, resource, quota, precondition } = details
  const packed = [
    pack(
      'google.rpc.ErrorInfo',
      ErrorInfo.encode(
        ErrorInfo.fromPartial({ reason, domain: errorDomain, metadata: { ...details.metadata } }),
      ),
    ),
  ]
  if (badRequest !== undefined) {
    const message = BadRequest.fromPartial({ fieldViolations: [...badRequest] })
    packed.push(pack('google.rpc.BadRequest', BadRequest.encode(message)))
  }
  if (retryDelayMs !== undefined) {
    const seconds = BigInt(Math.floor(retryDelayMs / 1000))
    const retryDelay = { seconds, nanos: Math.round((retryDelayMs % 1000) * 1e6) }
    packed.push(pack('google.rpc.RetryInfo', RetryInfo.encode(RetryInfo.fromPartial({ retryDelay }))))
  }
  if (resource !== undefined) {
    const message = ResourceInfo.fromPartial({
      resourceType: resource.type,
      resourceName: resource.name,
      description: resource.description ?? '',
    })
    packed.push(pack('google.rpc.ResourceInfo', ResourceInfo.encode(message)))
  }
  if (quota !== undefined) {
    const message = QuotaFailure.fromPartial({ violations: [...quota] })
    packed.push(pack('google.rpc.QuotaFailure', QuotaFailure.encode(message)))
  }
  if (precondition !== undefined) {
    const message = PreconditionFailure.fromPartial({ violations: [...precondition] })
    packed.push(pack('google.rpc.PreconditionFailure', PreconditionFailure.encode(message)))
  }
  return packed
}

function pack(typeName: string, writer: { finish(): Uint8Array }): Any {
  return Any.fromPartial({ typeUrl: typePrefix + typeName, value: Buffer.from(writer.finish()) })
}

const statusBytesOf = new WeakMap<ClientError, Uint8Array>()

/** Keeps the details of failed calls for detailsOf(). */
export const errorDetailsMiddleware: ClientMiddleware = async function* (call, options) {
  let statusBytes: Uint8Array | undefined
  const kept: CallOptions = {
    ...options,
    onTrailer(trailer) {
      statusBytes = trailer.get(statusDetailsKey)
      options.onTrailer?.(trailer)
    },
  }
  try {
    return yield* call.next(call.request, kept)
  } catch (error) {
    if (error instanceof ClientError && statusBytes !== undefined) statusBytesOf.set(error, statusBytes)
    throw error
  }
}

/** The details that came with a failed call; undefined if there were none or they do not decode. */
export function detailsOf(error: unknown): ReceivedErrorDetails | undefined {
  if (error instanceof RpcError) return unpackStatus(error.statusBytes)
  if (!(error instanceof ClientError)) return undefined
  const bytes = statusBytesOf.get(error)
  return bytes === undefined ? undefined : unpackStatus(bytes)
}

function unpackStatus(bytes: Uint8Array): ReceivedErrorDetails | undefined {
  try {
    const { details } = RpcStatus.decode(bytes)
    return Object.assign({ reason: '', domain: '' }, ...details.map(unpack))
  } catch {
    return undefined
  }
}

function unpack({ typeUrl, value }: Any): Partial<ReceivedErrorDetails> {
  switch (typeUrl.slice(typePrefix.length)) {
    case 'google.rpc.ErrorInfo': {
      const { reason, domain, metadata } = ErrorInfo.decode(value)
      return { reason, domain, metadata }
    }
    case 'google.rpc.BadRequest':
      return {
        badRequest: BadRequest.decode(value).fieldViolations.map(({ field, description }) => ({
          field,
          description,
        })),
      }
    case 'google.rpc.RetryInfo': {
      const { retryDelay } = RetryInfo.decode(value)
      if (retryDelay === undefined) return {}
      return { retryDelayMs: Number(retryDelay.seconds) * 1000 + retryDelay.nanos / 1e6 }
    }
    case 'google.rpc.ResourceInfo': {
      const { resourceType, resourceName, description } = ResourceInfo.decode(value)
      return { resource: { type: resourceType, name: resourceName, description } }
    }
    case 'google.rpc.QuotaFailure':
      return {
        quota: QuotaFailure.decode(value).violations.map(({ subject, description }) => ({
          subject,
          description,
        })),
      }
    case 'google.rpc.PreconditionFailure':
      return {
        precondition: PreconditionFailure.decode(value).violations.map(({ type, subject, description }) => ({
          type,
          subject,
          description,
        })),
      }
    default:
      return {}
  }
}
