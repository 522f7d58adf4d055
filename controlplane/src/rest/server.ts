/** The HTTP server for people: REST, its OpenAPI document, and the web page. */
import { readFileSync } from 'node:fs'
import fastifySwagger from '@fastify/swagger'
import fastify, { type FastifyInstance } from 'fastify'
import { parseAddress } from '../../../common/listen-address.js'
import { packageRoot, version } from '../../../common/version.js'
import { addGuard } from './guard.js'
import { addPage } from './page.js'
import { ProblemError, problemOf, sendProblem } from './problem.js'
import { protoSchemas } from './proto-schema.js'
import type { RestContext } from './route.js'
import { resources } from './router.js'
import { addTracing } from './tracing.js'

const maxBodyBytes = 1024 * 1024

export interface RestServerOptions extends RestContext {
  /** HOST:PORT; port 0 lets the system choose. */
  readonly listen: string
  /** Origins that the page fetches objects from. */
  readonly connectOrigins: readonly string[]
  /** Where the built web page lies. */
  readonly pageDirectory: string
  /** Told of every answer. The route is the pattern, never the address as sent. */
  readonly onAnswer: (route: string, status: number, seconds: number) => void
}

/** Not listening yet. */
export async function createRestServer(options: RestServerOptions): Promise<FastifyInstance> {
  const app = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    requestTimeout: 30_000,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 200 },
  })
  app.removeContentTypeParser('text/plain')
  app.setValidatorCompiler(() => (value) => ({ value }))
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))
  addTracing(app)
  addGuard(app, {
    listenHost: parseAddress(options.listen).host,
    connectOrigins: options.connectOrigins,
  })
  addErrors(app, options)
  await addApiDocument(app)
  await app.register(
    async (api) => {
      api.addHook('onRequest', async (_request, reply) => {
        reply.header('cache-control', 'no-store')
      })
      for (const resource of resources) resource(api, options)
      api.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
    },
    { prefix: '/api/v1' },
  )
  await addPage(app, options.pageDirectory)
  return app
}

function addErrors(app: FastifyInstance, options: RestServerOptions): void {
  app.setErrorHandler((error, request, reply) => {
    const route = request.routeOptions.url ?? ''
    const problem = problemOf(error)
    if (problem === undefined)
      options.log.error({ error, method: request.method, route }, 'a REST call failed')
    else options.log.debug({ method: request.method, route, reason: problem.reason }, 'REST call refused')
    return sendProblem(
      reply,
      problem ?? new ProblemError(500, 'INTERNAL', 'the server failed; its log says why'),
    )
  })
  app.addHook('onResponse', async (request, reply) => {
    options.onAnswer(request.routeOptions.url ?? '(none)', reply.statusCode, reply.elapsedTime / 1000)
  })
}

async function addApiDocument(app: FastifyInstance): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Cleartap control plane',
        version,
        description:
          'Captured requests, agents, configuration revisions. Messages of the contracts are proto JSON.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
    },
    refResolver: { buildLocalReference: (schema) => String(schema['$id']) },
  })
  app.addSchema(problemSchema)
  const descriptorSet = readFileSync(new URL('gen/descriptors.binpb', packageRoot))
  const answered = ['ListRequestsResponse', 'Request', 'QueryTimeseriesResponse', 'Dropped']
  for (const schema of protoSchemas(
    descriptorSet,
    answered.map((name) => `cleartap.pulse.v1.${name}`),
  )) {
    app.addSchema(schema)
  }
}

const problemSchema = {
  $id: 'Problem',
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'reason'],
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    reason: { type: 'string', description: 'UPPER_SNAKE_CASE: what programs switch on.' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          path: { type: 'string' },
          code: { type: 'string' },
          message: { type: 'string' },
          line: { type: 'integer' },
          column: { type: 'integer' },
        },
      },
    },
  },
}
