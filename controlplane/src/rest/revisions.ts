/** /revisions: versions of the agents' capture settings. */
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { ConfigError } from '../../../common/config/load.js'
import { maxRevisionBytes, parseRevision } from '../../../common/config/revision.js'
import type { CaptureConfig } from '../../../common/config/schema.js'
import type { AddOutcome, Revision } from '../store/revisions.js'
import { ProblemError, parseInput } from './problem.js'
import { RateLimit } from './rate-limit.js'
import { answers, documented, type Resource, type RestContext } from './route.js'

const revisionView = z.strictObject({
  resource: z.string(),
  version: z.number().int().min(1),
  content: z.string().describe('YAML: {capture: …}.'),
  sha256: z.string().describe('Of content, hexadecimal.'),
  author: z.string(),
  note: z.string(),
  createdAt: z.iso.datetime(),
})

const listQuery = z.strictObject({
  pageSize: z.coerce.number().int().min(1).max(100).optional().describe('Revisions a page; 20 if absent.'),
  pageToken: z.coerce.number().int().min(1).optional().describe('From the previous page.'),
})

const revisionPage = z.strictObject({
  revisions: z.array(revisionView).describe('Newest first.'),
  nextPageToken: z.string().describe('Empty on the last page.'),
})

const newRevision = z.strictObject({
  content: z
    .string()
    .min(1)
    .max(maxRevisionBytes)
    .describe('YAML: {capture: …}, the agent’s section of that name.'),
  note: z.string().max(1000).optional().describe('Why; for the history.'),
})

const addQuery = z.strictObject({
  validateOnly: z.enum(['true', 'false']).optional().describe('true: check and answer, but add nothing.'),
})

const addHeaders = z.object({
  'if-match': z
    .string()
    .max(100)
    .optional()
    .describe('ETag of the latest revision: refuse if it is not the latest any more.'),
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,128}$/, 'expected 1 to 128 printable ASCII characters')
    .optional()
    .describe('A repeat within 24 h with the same content answers with the first call’s revision.'),
})

const versionParams = z.strictObject({ version: z.coerce.number().int().min(1).describe('Version.') })

export const revisions: Resource = (app, context) => {
  const rateLimit = new RateLimit(5, 20)
  addReads(app, context)
  app.post('/revisions', {
    schema: {
      operationId: 'addRevision',
      summary: 'Add a revision; connected agents get it at once',
      querystring: documented(addQuery),
      headers: documented(addHeaders),
      body: documented(newRevision),
      response: {
        ...answers(201, 'Added, or added by an earlier call with this key.', documented(revisionView)),
        200: {
          description: 'Valid (validateOnly): the settings with defaults filled in.',
          content: {
            'application/json': { schema: { type: 'object', properties: { capture: { type: 'object' } } } },
          },
        },
      },
    },
    handler: async (request, reply) => {
      rateLimit.take()
      const { validateOnly } = parseInput(addQuery, request.query, 'query')
      const { content, note = '' } = parseInput(newRevision, request.body, 'body')
      const capture = checkDocument(content)
      if (validateOnly === 'true') return { capture }
      const outcome = await add(request, context, content, note)
      const revision = accepted(outcome)
      return reply
        .code(201)
        .header('location', `/api/v1/revisions/${revision.version}`)
        .header('etag', etagOf(revision))
        .send(toView(revision))
    },
  })
}

const addReads: Resource = (app, { store, sessions }) => {
  app.get('/revisions', {
    schema: {
      operationId: 'listRevisions',
      summary: 'Revisions, newest first; the ETag is that of the latest',
      querystring: documented(listQuery),
      response: answers(200, 'A page of revisions.', documented(revisionPage)),
    },
    handler: async (request, reply) => {
      const { pageSize = 20, pageToken } = parseInput(listQuery, request.query, 'query')
      const found = await store.revisions.list(pageSize + 1, pageToken)
      const page = found.slice(0, pageSize)
      const nextPageToken = found.length > pageSize ? String(page.at(-1)?.version ?? '') : ''
      reply.header('etag', etagOf(sessions.latest))
      return { revisions: page.map(toView), nextPageToken }
    },
  })

  app.get('/revisions/:version', {
    schema: {
      operationId: 'getRevision',
      summary: 'One revision',
      params: documented(versionParams),
      response: answers(200, 'The revision.', documented(revisionView)),
    },
    handler: async (request, reply) => {
      const { version } = parseInput(versionParams, request.params, 'path')
      const revision = await store.revisions.get(version)
      if (revision === undefined) throw new ProblemError(404, 'NOT_FOUND', `no revision ${version}`)
      reply.header('etag', etagOf(revision))
      return toView(revision)
    },
  })
}

async function add(
  request: FastifyRequest,
  context: RestContext,
  content: string,
  note: string,
): Promise<AddOutcome> {
  const headers = parseInput(addHeaders, request.headers, 'headers')
  const ifMatch = headers['if-match']
  const idempotencyKey = headers['idempotency-key']
  const outcome = await context.store.revisions.add({
    content,
    note,
    author: 'local',
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(ifMatch !== undefined && { expectedLatest: versionOf(ifMatch) }),
  })
  if (outcome.kind === 'added') await context.sessions.publish(outcome.revision)
  return outcome
}

function accepted(outcome: AddOutcome): Revision {
  switch (outcome.kind) {
    case 'added':
    case 'repeated':
      return outcome.revision
    case 'key_reused':
      throw new ProblemError(
        422,
        'IDEMPOTENCY_KEY_REUSED',
        'this Idempotency-Key was used with other content',
      )
    case 'latest_differs':
      throw new ProblemError(
        412,
        'REVISION_CHANGED',
        `the latest revision is now ${outcome.latest}: read it first`,
      )
  }
}

/** @throws ProblemError 400 that says for each mistake where it is, what was found and what is accepted. */
function checkDocument(content: string): CaptureConfig {
  try {
    return parseRevision(content)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const errors = error.problems.map(({ path = '', line = 0, column = 0, text }) => ({
      path,
      code: 'INVALID_REVISION',
      message: text,
      line,
      column,
    }))
    const detail = errors.map(({ line, column, message }) => `${line}:${column}: ${message}`).join('\n')
    throw new ProblemError(400, 'INVALID_REVISION', detail, { errors })
  }
}

function etagOf(revision: Revision | undefined): string {
  return revision === undefined ? '"0"' : `"${revision.version}-${revision.sha256.slice(0, 16)}"`
}

function versionOf(etag: string): number {
  const version = /^"(\d{1,15})(?:-[0-9a-f]{16})?"$/.exec(etag)?.[1]
  if (version === undefined) {
    throw new ProblemError(
      400,
      'INVALID_ARGUMENT',
      'if-match: expected the ETag of a revision, with its quotes',
    )
  }
  return Number(version)
}

function toView(revision: Revision) {
  const { resource, version, content, sha256, author, note, createdAtMs } = revision
  return { resource, version, content, sha256, author, note, createdAt: new Date(createdAtMs).toISOString() }
}
