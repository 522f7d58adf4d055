/** The span of a batch between its being sent and its being settled. */
import {
  describe,
  fromTraceparent,
  type Span,
  SpanKind,
  type SpanOutcome,
  startSpan,
} from '../../../../common/tracing.js'
import type { EventBatch } from '../../../../gen/cleartap/pulse/v1/ingest.js'

/** Below the span that made the batch, which may have been that of an earlier run of the agent. */
export function startSend({ traceparent, payload, eventCount }: EventBatch): Span {
  const facts = { 'cleartap.events': eventCount, 'cleartap.bytes': payload.length }
  return startSpan('agent send', { kind: SpanKind.PRODUCER, parent: fromTraceparent(traceparent), facts })
}

export function endSend(span: Span, outcome: SpanOutcome): void {
  describe(span, { 'cleartap.outcome': outcome })
  span.end()
}
