/** /requests/tail: captured requests as they are stored, as server-sent events. */
import { Readable } from 'node:stream'
import { z } from 'zod'
import { Dropped, Request, type TailEventsResponse } from '../../../gen/cleartap/pulse/v1/query.js'
import { ProblemError, parseInput, problemOf, toProblem } from './problem.js'
import { filterParameters, toFilter } from './request-filter.js'
import { callSignal, documented, type Resource, type RestContext, ref } from './route.js'

/** Tails at one time. */
const maxTails = 100

/** Pulse may say nothing until something matches: after this the tail counts as accepted. */
const acceptedAfterMs = 150

const tailQuery = z.strictObject({
  maxEventsPerSecond: z.coerce.number().int().min(1).max(10_000).optional().describe('1000 if absent.'),
  ...filterParameters,
})

type TailIterator = AsyncIterator<TailEventsResponse>

const description =
  'Server-sent events. `request`: data is a Request; `dropped`: data is {count}, requests that matched but were not ' +
  'sent because the reader was slow; `heartbeat`; `problem`: why the stream ends. The id of an event is its resume ' +
  'token: send it as Last-Event-ID to go on from there.'

export const tail: Resource = (app, context) => {
  let open = 0
  app.get('/requests/tail', {
    exposeHeadRoute: false,
    schema: {
      operationId: 'tailRequests',
      summary: 'Requests as they come',
      description,
      querystring: documented(tailQuery),
      headers: documented(z.object({ 'last-event-id': z.string().max(4096).optional() })),
      response: {
        200: { description, content: { 'text/event-stream': { schema: { type: 'string' } } } },
        default: {
          description: 'A problem.',
          content: { 'application/problem+json': { schema: ref('Problem') } },
        },
      },
    },
    handler: async (request, reply) => {
      const query = parseInput(tailQuery, request.query, 'query')
      if (open >= maxTails) {
        throw new ProblemError(429, 'TOO_MANY_TAILS', `${open} tails are open; no more are taken`)
      }
      const signal = callSignal(reply, context)
      const accepted = Promise.withResolvers<unknown>()
      const events = context.query.tailEvents(
        {
          filter: toFilter(query),
          maxEventsPerSecond: query.maxEventsPerSecond ?? 0,
          resumeToken: resumeToken(request.headers['last-event-id']),
        },
        { signal, onHeader: accepted.resolve },
      )
      const iterator = events[Symbol.asyncIterator]()
      const first = iterator.next()
      await settledWithin(Promise.race([first, accepted.promise]), acceptedAfterMs)
      open += 1
      const body = Readable.from(toFrames(first, iterator, context), {
        objectMode: false,
        highWaterMark: 64 * 1024,
      })
      body.once('close', () => {
        open -= 1
      })
      signal.addEventListener('abort', () => body.destroy())
      return reply.header('x-accel-buffering', 'no').type('text/event-stream; charset=utf-8').send(body)
    },
  })
}

/** Rejects if the promise rejects within the time; otherwise resolves when it settles or the time is over. */
async function settledWithin(promise: Promise<unknown>, limitMs: number): Promise<void> {
  const waited = Promise.withResolvers<void>()
  const timer = setTimeout(waited.resolve, limitMs)
  try {
    await Promise.race([promise, waited.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Pulled by the socket: a reader that does not read stops the pull, and Pulse counts what it then drops. */
async function* toFrames(
  first: Promise<IteratorResult<TailEventsResponse>>,
  iterator: TailIterator,
  context: RestContext,
): AsyncGenerator<string, void, undefined> {
  try {
    yield ': tail\n\n'
    for (let next = await first; next.done !== true; next = await iterator.next()) {
      yield toFrame(next.value)
    }
  } catch (error) {
    const problem = problemOf(error)
    if (problem !== undefined) yield frame('problem', '', toProblem(problem))
    else if (!(error instanceof Error && error.name === 'AbortError')) {
      context.log.error({ error }, 'a tail failed')
    }
  } finally {
    await iterator.return?.()
  }
}

function toFrame({ item, resumeToken: token }: TailEventsResponse): string {
  switch (item?.$case) {
    case 'request':
      return frame('request', token, Request.toJSON(item.value))
    case 'dropped':
      return frame('dropped', token, Dropped.toJSON(item.value))
    case 'heartbeat':
    case undefined:
      return frame('heartbeat', token, {})
  }
}

function frame(event: string, id: string, data: unknown): string {
  const idLine = id === '' ? '' : `id: ${id.replace(/[\r\n\0]/g, '')}\n`
  return `event: ${event}\n${idLine}data: ${JSON.stringify(data)}\n\n`
}

function resumeToken(header: string | string[] | undefined): string {
  return typeof header === 'string' ? header.slice(0, 4096) : ''
}
