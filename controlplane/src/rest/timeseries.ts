/** /timeseries: counts and durations of requests in equal steps, asked from Pulse. */
import { z } from 'zod'
import { QueryTimeseriesResponse } from '../../../gen/cleartap/pulse/v1/query.js'
import { parseInput } from './problem.js'
import { filterParameters, rangeParameters, toFilter, toRange } from './request-filter.js'
import { answers, askPulse, documented, type Resource, ref } from './route.js'

const timeseriesQuery = z.strictObject({
  start: rangeParameters.start.unwrap(),
  end: rangeParameters.end.unwrap(),
  stepSeconds: z.coerce.number().int().min(1).max(86_400).describe('Length of a step; at most 10,000 steps.'),
  ...filterParameters,
})

export const timeseries: Resource = (app, context) => {
  app.get('/timeseries', {
    schema: {
      operationId: 'queryTimeseries',
      summary: 'Requests, errors, bytes and durations over time',
      querystring: documented(timeseriesQuery),
      response: answers(200, 'A point a step.', ref('cleartap.pulse.v1.QueryTimeseriesResponse')),
    },
    handler: async (request, reply) => {
      const query = parseInput(timeseriesQuery, request.query, 'query')
      const question = {
        range: toRange(query),
        filter: toFilter(query),
        step: { seconds: BigInt(query.stepSeconds), nanos: 0 },
      }
      const answer = await askPulse(reply, context, (signal) =>
        context.query.queryTimeseries(question, { signal }),
      )
      return QueryTimeseriesResponse.toJSON(answer)
    },
  })
}
