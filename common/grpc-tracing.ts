/** Spans of gRPC calls, and the trace context in their metadata. */
import {
  type CallContext,
  type ClientMiddleware,
  Metadata,
  ServerError,
  type ServerMiddleware,
} from 'nice-grpc'
import { ClientError } from 'nice-grpc-common'
import {
  type Context,
  context,
  contextOf,
  describe,
  fail,
  fromTraceparent,
  isTraced,
  type Span,
  SpanKind,
  startSpan,
  traceparentOf,
} from './tracing.js'

const traceparentKey = 'traceparent'
const UNKNOWN = 2
const CANCELLED = 1

/** A span for each call, for as long as it is open, told to the server. Passes calls through when nobody listens. */
export const clientTracing: ClientMiddleware = (call, options) => {
  const span = startSpan(methodOf(call.method.path), {
    kind: SpanKind.CLIENT,
    facts: { 'rpc.method': methodOf(call.method.path) },
  })
  if (!isTraced(span)) return call.next(call.request, options)
  const metadata = Metadata(options.metadata).set(traceparentKey, traceparentOf(span))
  const traced = { ...options, metadata }
  return call.responseStream
    ? within(span, context.active(), call.next(call.request, traced))
    : within(span, context.active(), call.next(call.request, traced))
}

/** A span for each call of our own services, below the caller's. Passes calls through when nobody listens. */
export const serverTracing: ServerMiddleware = (call, callContext: CallContext) => {
  const method = methodOf(call.method.path)
  if (!method.startsWith('cleartap.')) return call.next(call.request, callContext)
  const parent = fromTraceparent(callContext.metadata.get(traceparentKey))
  const span = startSpan(method, { kind: SpanKind.SERVER, parent, facts: { 'rpc.method': method } })
  if (!span.isRecording()) return call.next(call.request, callContext)
  const active = contextOf(span, parent)
  return call.responseStream
    ? within(span, active, call.next(call.request, callContext))
    : within(span, active, call.next(call.request, callContext))
}

/** Runs the call in the context; ends the span with the call. */
async function* within<Item, Result>(
  span: Span,
  active: Context,
  call: AsyncGenerator<Item, Result, undefined>,
): AsyncGenerator<Item, Result, undefined> {
  const steps: AsyncIterator<Item, Result, undefined> = {
    next: () => context.with(active, () => call.next()),
    // What is handed back counts for nothing here: the caller has left.
    return: () => call.return(undefined as never),
  }
  try {
    return yield* { [Symbol.asyncIterator]: () => steps }
  } catch (error) {
    const code = statusOf(error)
    describe(span, { 'rpc.grpc.status_code': code })
    if (code !== CANCELLED) fail(span)
    throw error
  } finally {
    span.end()
  }
}

function statusOf(error: unknown): number {
  if (error instanceof ServerError || error instanceof ClientError) return error.code
  return error instanceof Error && error.name === 'AbortError' ? CANCELLED : UNKNOWN
}

/** "package.Service/Method". */
function methodOf(path: string): string {
  return path.slice(1)
}
