/** /requests: captured requests, asked from Pulse. */
import { UUID } from 'uuidv7'
import { z } from 'zod'
import { ListRequestsResponse, Request } from '../../../gen/cleartap/pulse/v1/query.js'
import { ProblemError, parseInput } from './problem.js'
import { filterParameters, rangeParameters, toFilter, toRange } from './request-filter.js'
import { answers, askPulse, documented, type Resource, ref } from './route.js'

const listQuery = z.strictObject({
  pageSize: z.coerce.number().int().min(1).max(1000).optional().describe('Requests a page; 100 if absent.'),
  pageToken: z.string().max(4096).optional().describe('From the previous page.'),
  ...filterParameters,
  ...rangeParameters,
})

const requestParams = z.strictObject({ eventId: z.uuid().describe('Event id.') })

export const requests: Resource = (app, context) => {
  app.get('/requests', {
    schema: {
      operationId: 'listRequests',
      summary: 'Captured requests, newest first',
      querystring: documented(listQuery),
      response: answers(200, 'A page of requests.', ref('cleartap.pulse.v1.ListRequestsResponse')),
    },
    handler: async (request, reply) => {
      const query = parseInput(listQuery, request.query, 'query')
      const question = {
        pageSize: query.pageSize ?? 0,
        pageToken: query.pageToken ?? '',
        filter: toFilter(query),
        range: toRange(query),
      }
      const answer = await askPulse(reply, context, (signal) =>
        context.query.listRequests(question, { signal }),
      )
      return ListRequestsResponse.toJSON(answer)
    },
  })

  app.get('/requests/:eventId', {
    schema: {
      operationId: 'getRequest',
      summary: 'One captured request',
      params: documented(requestParams),
      response: answers(200, 'The request.', ref('cleartap.pulse.v1.Request')),
    },
    handler: async (request, reply) => {
      const { eventId } = parseInput(requestParams, request.params, 'path')
      const question = { eventId: Buffer.from(UUID.parse(eventId).bytes) }
      const answer = await askPulse(reply, context, (signal) =>
        context.query.getRequest(question, { signal }),
      )
      if (answer.request === undefined) throw new ProblemError(404, 'NOT_FOUND', `no request ${eventId}`)
      return Request.toJSON(answer.request)
    },
  })
}
