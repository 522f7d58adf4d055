/** A span for each HTTP request, active while it is answered. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import {
  context,
  contextOf,
  describe,
  fail,
  fromTraceparent,
  type Span,
  SpanKind,
  startSpan,
} from '../../../common/tracing.js'

/** Methods are named in spans only if they are known: a caller may send any word. */
const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Names routes by their patterns: paths and queries as sent stay out of spans. */
export function addTracing(app: FastifyInstance): void {
  const spans = new WeakMap<FastifyRequest, Span>()
  app.addHook('onRequest', (request, _reply, done) => {
    const method = methods.has(request.method) ? request.method : '_OTHER'
    const route = request.routeOptions.url ?? '(none)'
    const { traceparent } = request.headers
    const parent = fromTraceparent(typeof traceparent === 'string' ? traceparent : undefined)
    const facts = { 'http.request.method': method, 'http.route': route }
    const span = startSpan(`${method} ${route}`, { kind: SpanKind.SERVER, parent, facts })
    spans.set(request, span)
    context.with(contextOf(span, parent), done)
  })
  app.addHook('onResponse', async (request, reply) => {
    const span = spans.get(request)
    if (span === undefined) return
    describe(span, { 'http.response.status_code': reply.statusCode })
    if (reply.statusCode >= 500) fail(span)
    span.end()
  })
}
