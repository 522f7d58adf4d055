/** The web page: static files, and index.html for addresses that the page itself makes. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ProblemError } from './problem.js'

const notBuilt = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Cleartap: the page is not built</title>
<h1>The page is not built</h1>
<p>This control plane runs, but its web page is missing. Build it with <code>npm run build</code>, then reload.</p>
<p>The API is at <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.</p>
</html>
`

/** @param directory where the built page lies; it need not exist. */
export async function addPage(app: FastifyInstance, directory: string): Promise<void> {
  const isBuilt = () => existsSync(join(directory, 'index.html'))
  if (isBuilt()) {
    await app.register(fastifyStatic, {
      root: directory,
      schemaHide: true,
      cacheControl: false,
      setHeaders: (reply, path) => {
        const isHashed = path.includes('/assets/')
        reply.header('cache-control', isHashed ? 'public, max-age=31536000, immutable' : 'no-cache')
      },
    })
  } else {
    app.get('/', { schema: { hide: true } }, (_request, reply) => sendNotBuilt(reply))
  }
  app.setNotFoundHandler((request, reply) => {
    if (!wantsPage(request)) throw new ProblemError(404, 'NOT_FOUND', `there is nothing at this address`)
    return isBuilt() ? reply.sendFile('index.html') : sendNotBuilt(reply)
  })
}

function wantsPage(request: FastifyRequest): boolean {
  const isRead = request.method === 'GET' || request.method === 'HEAD'
  return isRead && !request.url.startsWith('/api/') && (request.headers.accept ?? '').includes('text/html')
}

function sendNotBuilt(reply: FastifyReply): FastifyReply {
  return reply.code(503).type('text/html; charset=utf-8').send(notBuilt)
}
