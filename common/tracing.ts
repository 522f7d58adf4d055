/**
 * Spans of our own. A batch, a block or a call has one, an event never. Without the SDK every function here does
 * nothing that could be measured.
 */
import {
  type Context,
  context,
  isSpanContextValid,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'

export { type Context, context, type Span, SpanKind }

/**
 * All that a span may say: counts, sizes, durations, and names out of our own contracts. Nothing that came with
 * captured traffic or names a machine: no payload, path, host, key or URL.
 */
export interface SpanFacts {
  readonly 'rpc.method'?: string
  readonly 'rpc.grpc.status_code'?: number
  readonly 'http.request.method'?: string
  /** The route's pattern, never the path as sent. */
  readonly 'http.route'?: string
  readonly 'http.response.status_code'?: number
  readonly 'db.system.name'?: 'clickhouse'
  /** One of our own tables. */
  readonly 'db.collection.name'?: string
  /** ClickHouse's error code. */
  readonly 'db.response.status_code'?: number
  readonly 'cleartap.batches'?: number
  readonly 'cleartap.events'?: number
  readonly 'cleartap.accepted'?: number
  readonly 'cleartap.rejected'?: number
  readonly 'cleartap.rows'?: number
  readonly 'cleartap.rows_read'?: number
  readonly 'cleartap.bytes_read'?: number
  readonly 'cleartap.bytes'?: number
  readonly 'cleartap.inflated_bytes'?: number
  readonly 'cleartap.attempts'?: number
  readonly 'cleartap.elapsed_ms'?: number
  readonly 'cleartap.config_version'?: number
  readonly 'cleartap.outcome'?: SpanOutcome
}

export type SpanOutcome =
  | 'acked'
  | 'accepted'
  | 'applied'
  | 'duplicate'
  | 'nacked'
  | 'quarantined'
  | 'rejected'
  | 'resent'
  | 'spool_failed'
  | 'stopped'
  | 'unanswered'

export interface SpanOptions {
  readonly kind?: SpanKind
  /** Absent: the span that is active here, if any. */
  readonly parent?: Context
  /** Other spans that led to this one; invalid ones are left out. */
  readonly links?: readonly Span[]
  readonly facts?: SpanFacts
}

/** The SDK keeps no more. */
const maxLinks = 128

const tracer = trace.getTracer('cleartap')

/** Starts a span; whoever starts it ends it. */
export function startSpan(name: string, options: SpanOptions = {}): Span {
  const { kind = SpanKind.INTERNAL, parent = context.active(), links, facts } = options
  return tracer.startSpan(
    name,
    { kind, attributes: { ...facts }, ...(links && { links: linksTo(links) }) },
    parent,
  )
}

/** Adds facts. */
export function describe(span: Span, facts: SpanFacts): void {
  span.setAttributes({ ...facts })
}

/** Marks a span as failed; the error's text stays out of it. */
export function fail(span: Span): void {
  span.setStatus({ code: SpanStatusCode.ERROR })
}

/** Runs act in a span that ends with it, and is failed if it throws. */
export function spanned<T>(name: string, options: SpanOptions, act: (span: Span) => T): T {
  const span = startSpan(name, options)
  const parent = options.parent ?? context.active()
  try {
    const result = context.with(trace.setSpan(parent, span), () => act(span))
    if (!(result instanceof Promise)) {
      span.end()
      return result
    }
    void result.then(
      () => span.end(),
      () => failAndEnd(span),
    )
    return result
  } catch (error) {
    failAndEnd(span)
    throw error
  }
}

/** Whether anybody listens: false for every span while there is no SDK, unless a caller sent a context. */
export function isTraced(span: Span): boolean {
  return isSpanContextValid(span.spanContext())
}

/** A context in which the span is active. */
export function contextOf(span: Span, parent: Context = context.active()): Context {
  return trace.setSpan(parent, span)
}

/** The W3C header; empty if nobody listens. */
export function traceparentOf(span: Span | undefined): string {
  const own = span?.spanContext()
  if (own === undefined || !isSpanContextValid(own)) return ''
  return `00-${own.traceId}-${own.spanId}-${(own.traceFlags & 1).toString(16).padStart(2, '0')}`
}

/**
 * The sender's context; a root if the header is absent or malformed. Only the ids are taken: tracestate and
 * baggage carry free text.
 */
export function fromTraceparent(header: string | undefined): Context {
  const match = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(header ?? '')
  const [, traceId = '', spanId = '', flags = ''] = match ?? []
  const remote: SpanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true }
  return isSpanContextValid(remote) ? trace.setSpanContext(ROOT_CONTEXT, remote) : ROOT_CONTEXT
}

/** The later span links back to this one. */
export function link(span: Span, to: Span): void {
  const [target] = linksTo([to])
  if (target !== undefined) span.addLink(target)
}

function linksTo(spans: readonly Span[]): Link[] {
  return spans
    .slice(0, maxLinks)
    .map((span) => ({ context: span.spanContext() }))
    .filter((target) => isSpanContextValid(target.context))
}

function failAndEnd(span: Span): void {
  fail(span)
  span.end()
}
