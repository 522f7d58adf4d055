/** /object-urls: signed addresses for downloads, straight from the bucket. */
import { z } from 'zod'
import { maxValidForSeconds, minValidForSeconds } from '../objects/signer.js'
import { ProblemError, parseInput } from './problem.js'
import { RateLimit } from './rate-limit.js'
import { answers, documented, type Resource } from './route.js'

const signBody = z.strictObject({
  store: z.string().max(200).optional().describe('ArtifactRef.store; may be left out if there is one store.'),
  key: z.string().max(300).describe('ArtifactRef.key.'),
  validForSeconds: z
    .int()
    .min(minValidForSeconds)
    .max(maxValidForSeconds)
    .optional()
    .describe(`${minValidForSeconds} if absent.`),
})

const signAnswer = z.strictObject({
  url: z.url().describe('Holds a signature: not to be stored or logged.'),
  expiresAt: z.iso.datetime(),
})

export const objectUrls: Resource = (app, { signer }) => {
  const rateLimit = new RateLimit(100, 200)
  app.post('/object-urls', {
    schema: {
      operationId: 'signObjectUrl',
      summary: 'A signed URL for the download of one object',
      body: documented(signBody),
      response: answers(200, 'Good for a GET until expiresAt.', documented(signAnswer)),
    },
    handler: async (request) => {
      rateLimit.take()
      const {
        store = '',
        key,
        validForSeconds = minValidForSeconds,
      } = parseInput(signBody, request.body, 'body')
      const outcome = await signer.sign(store, key, validForSeconds)
      switch (outcome.kind) {
        case 'signed':
          return { url: outcome.url, expiresAt: new Date(outcome.expiresAtMs).toISOString() }
        case 'unknown_store':
          throw new ProblemError(404, 'STORE_UNKNOWN', outcome.message)
        case 'invalid':
          throw new ProblemError(400, 'INVALID_ARGUMENT', `${outcome.field}: ${outcome.message}`)
      }
    },
  })
}
