import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'
import { formatAddress, parseAddress, parseLoopbackAddress } from './listen-address.js'
import type { Logger } from './log.js'

export interface AdminServerOptions {
  /** Loopback HOST:PORT; port 0 lets the system choose. */
  readonly listen: string
  readonly registry: Registry
  readonly logger: Logger
  /** Why the service cannot do its work now, in words; undefined: it can. */
  readonly notReady: () => string | undefined
}

export interface AdminServer {
  /** HOST:PORT as bound. */
  readonly address: string
  stop(): Promise<void>
}

interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

/** Serves /metrics, /healthz and /readyz over HTTP on loopback, and nothing else. */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const { host, port } = parseLoopbackAddress(options.listen)
  const server = createServer({ requestTimeout: 10_000, maxHeaderSize: 8192 }, (request, response) => {
    respond(request, response, options).catch((error: unknown) => {
      options.logger.error({ error }, 'admin request failed')
      send(request, response, text(500, 'internal error'))
    })
  })
  server.maxConnections = 64
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const bound = server.address() as AddressInfo
  return {
    address: formatAddress({ host, port: bound.port }),
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  options: AdminServerOptions,
): Promise<void> {
  send(request, response, await answer(request, options))
}

async function answer(request: IncomingMessage, options: AdminServerOptions): Promise<Answer> {
  if (!isLoopbackHost(request.headers.host)) return text(403, 'the Host header must name a loopback address')
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return text(405, 'only GET and HEAD are accepted')
  const path = request.url?.split('?')[0]
  switch (path) {
    case '/metrics':
      return {
        status: 200,
        contentType: options.registry.contentType,
        body: await options.registry.metrics(),
      }
    case '/healthz':
      return text(200, 'ok')
    case '/readyz': {
      const reason = options.notReady()
      return reason === undefined ? text(200, 'ok') : text(503, reason)
    }
    default:
      return text(404, 'there are /metrics, /healthz and /readyz')
  }
}

/** Refuses other names so that a web page cannot reach the endpoints by rebinding its own name to loopback. */
function isLoopbackHost(header: string | undefined): boolean {
  if (header === undefined) return false
  try {
    const withPort = /:\d+$/.test(header) && !header.endsWith(']') ? header : `${header}:80`
    parseLoopbackAddress(withPort)
    return parseAddress(withPort).port > 0
  } catch {
    return false
  }
}

function text(status: number, line: string): Answer {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${line}\n` }
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, contentType, body }: Answer,
): void {
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
