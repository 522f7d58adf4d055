/** An OTLP/HTTP collector on 127.0.0.1 that keeps what it is sent as JSON (OTEL_EXPORTER_OTLP_PROTOCOL=http/json). */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { z } from 'zod'

const attributes = z
  .array(z.object({ key: z.string(), value: z.record(z.string(), z.unknown()) }))
  .default([])
const resource = z.object({ attributes })
const linkSchema = z.object({ traceId: z.string(), spanId: z.string() })

const tracesSchema = z.object({
  resourceSpans: z.array(
    z.object({
      resource,
      scopeSpans: z.array(
        z.object({
          spans: z.array(
            z.object({
              traceId: z.string(),
              spanId: z.string(),
              parentSpanId: z.string().default(''),
              name: z.string(),
              attributes,
              links: z.array(linkSchema).default([]),
            }),
          ),
        }),
      ),
    }),
  ),
})

const metricsSchema = z.object({
  resourceMetrics: z.array(
    z.object({
      resource,
      scopeMetrics: z.array(z.object({ metrics: z.array(z.looseObject({ name: z.string() })) })),
    }),
  ),
})

export interface ReceivedSpan {
  /** service.name of the sender. */
  readonly service: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly name: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
}

export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = []
  /** Names of metrics by service.name. */
  readonly metrics = new Map<string, Set<string>>()
  /** Keys of all resource attributes. */
  readonly resourceKeys = new Set<string>()
  /** Bodies as sent: what must not be in there is searched in these. */
  readonly bodies: string[] = []
  connections = 0
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const raw = Buffer.concat(chunks)
      const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw
      this.#take(request.url ?? '', body.toString('utf8'))
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  })

  /** Port 0: the system chooses. Throws if the port is taken. */
  static async start(port = 0): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver()
    receiver.#server.on('connection', () => {
      receiver.connections += 1
    })
    receiver.#server.listen(port, '127.0.0.1')
    await once(receiver.#server, 'listening')
    return receiver
  }

  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  /** Resolves with what find gives as soon as it gives something. Throws with the names of all spans. */
  async waitFor<T>(what: string, find: () => T | undefined, timeoutMs = 20_000): Promise<T> {
    const deadlineMs = performance.now() + timeoutMs
    for (;;) {
      const found = find()
      if (found !== undefined) return found
      if (performance.now() > deadlineMs) {
        const names = new Set(this.spans.map(({ service, name }) => `${service}: ${name}`))
        throw new Error(`no ${what} in ${timeoutMs} ms; received spans:\n${[...names].sort().join('\n')}`)
      }
      await sleep(100)
    }
  }

  /** The parents of a span, nearest first, as far as they were received. */
  ancestors(span: ReceivedSpan): readonly ReceivedSpan[] {
    const parent = this.spans.find(
      ({ traceId, spanId }) => traceId === span.traceId && spanId === span.parentSpanId,
    )
    return parent === undefined ? [] : [parent, ...this.ancestors(parent)]
  }

  #take(path: string, body: string): void {
    this.bodies.push(body)
    const json: unknown = JSON.parse(body)
    if (path === '/v1/traces') this.#takeTraces(tracesSchema.parse(json))
    else if (path === '/v1/metrics') this.#takeMetrics(metricsSchema.parse(json))
    else throw new Error(`nothing is expected at ${path}`)
  }

  #takeTraces({ resourceSpans }: z.output<typeof tracesSchema>): void {
    for (const { resource: from, scopeSpans } of resourceSpans) {
      const service = this.#serviceOf(from)
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        const facts = Object.fromEntries(
          span.attributes.map(({ key, value }) => [key, Object.values(value)[0]]),
        )
        this.spans.push({ ...span, service, attributes: facts })
      }
    }
  }

  #takeMetrics({ resourceMetrics }: z.output<typeof metricsSchema>): void {
    for (const { resource: from, scopeMetrics } of resourceMetrics) {
      const service = this.#serviceOf(from)
      const names = this.metrics.get(service) ?? new Set()
      this.metrics.set(service, names)
      for (const { name } of scopeMetrics.flatMap(({ metrics }) => metrics)) names.add(name)
    }
  }

  #serviceOf({ attributes: facts }: z.output<typeof resource>): string {
    for (const { key } of facts) this.resourceKeys.add(key)
    const name = facts.find(({ key }) => key === 'service.name')
    return String(Object.values(name?.value ?? {})[0] ?? '')
  }
}
