/** What stands between a hostile web page and the API: host check, cross-site check, response headers. */
import { isIP } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { isLoopback } from '../../../common/listen-address.js'
import { ProblemError } from './problem.js'

export interface GuardOptions {
  /** Host of the listen address, without brackets. */
  readonly listenHost: string
  /** Origins that the page fetches objects from. */
  readonly connectOrigins: readonly string[]
}

/**
 * Refuses requests whose Host is not ours (a page that rebinds its own name to our address sends its own name)
 * and writing requests from other sites; sets the security headers on every answer.
 */
export function addGuard(app: FastifyInstance, options: GuardOptions): void {
  const headers = securityHeaders(options.connectOrigins)
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(headers)
    if (!isOurHost(request.headers.host, options.listenHost)) {
      throw new ProblemError(
        421,
        'HOST_UNKNOWN',
        `this server does not answer for host ${show(request.headers.host)}`,
      )
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') refuseCrossSite(request.headers)
  })
}

function securityHeaders(connectOrigins: readonly string[]): Record<string, string> {
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    ['connect-src', "'self'", ...connectOrigins].join(' '),
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ]
  return {
    'content-security-policy': policy.join('; '),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  }
}

function isOurHost(header: string | undefined, listenHost: string): boolean {
  const host = hostOf(header)
  if (host === undefined) return false
  if (host === listenHost.toLowerCase() || isLoopback(host)) return true
  // A server on all interfaces is called by address; only a name can be rebound.
  return isUnspecified(listenHost) && isIP(host) !== 0
}

function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

/** Without port and brackets, lower case. */
function hostOf(header: string | undefined): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]@/\s]+))(?::\d{1,5})?$/i.exec(header ?? '')
  return (match?.[1] ?? match?.[2])?.toLowerCase()
}

function refuseCrossSite(headers: Readonly<Record<string, string | string[] | undefined>>): void {
  const site = headers['sec-fetch-site']
  const origin = headers['origin']
  const isForeignSite = site !== undefined && site !== 'same-origin' && site !== 'none'
  const isForeignOrigin = origin !== undefined && !isOriginOf(String(origin), String(headers['host']))
  if (isForeignSite || isForeignOrigin) {
    throw new ProblemError(
      403,
      'CROSS_SITE',
      'changes are accepted from this server’s own pages and from programs only',
    )
  }
}

function isOriginOf(origin: string, host: string): boolean {
  return origin === `http://${host}` || origin === `https://${host}`
}

function show(text: string | undefined): string {
  return text === undefined ? '(none)' : JSON.stringify(text.slice(0, 100))
}
