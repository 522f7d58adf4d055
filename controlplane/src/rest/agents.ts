/** /agents: who is there, what they run, what they last tried. */
import { z } from 'zod'
import type { Agent } from '../store/agents.js'
import { ProblemError, parseInput } from './problem.js'
import { answers, documented, type Resource } from './route.js'

const historyLength = 50

const versionRef = z.strictObject({
  version: z.number().int().min(0).describe('0: the file that the agent was started with.'),
  sha256: z.string().describe('Hexadecimal, or empty.'),
})

const documentError = z.strictObject({
  path: z.string(),
  code: z.string(),
  message: z.string(),
  line: z.number().int().describe('From 1; 0 if unknown.'),
  column: z.number().int().describe('From 1; 0 if unknown.'),
})

const agentShape = z.strictObject({
  id: z.uuid(),
  host: z.string(),
  version: z.string(),
  kernel: z.string(),
  architecture: z.string(),
  bootId: z.string(),
  labels: z.record(z.string(), z.string()),
  connected: z.boolean(),
  firstSeen: z.iso.datetime(),
  lastSeen: z.iso.datetime(),
  health: z.enum(['healthy', 'degraded', 'unknown']),
  running: versionRef,
  lastGood: versionRef,
  lastAttempt: z
    .strictObject({
      ...versionRef.shape,
      state: z.enum(['received', 'applying', 'applied', 'rejected', 'rolled_back', 'unknown']),
      at: z.iso.datetime(),
      tries: z.number().int(),
      error: z.strictObject({ message: z.string(), errors: z.array(documentError) }).optional(),
    })
    .optional(),
  inSync: z.boolean().describe('Whether it runs the latest revision, or there is none.'),
  stats: z
    .strictObject({
      capture: z.record(z.string(), z.unknown()).optional().describe('CaptureStats; zeros are left out.'),
      ingest: z.record(z.string(), z.unknown()).optional().describe('IngestStats; zeros are left out.'),
    })
    .describe('Totals since the agent started.'),
})

const agentDetail = z.strictObject({
  ...agentShape.shape,
  history: z
    .array(
      z.strictObject({
        version: z.number().int(),
        outcome: z.enum(['pushed', 'applied', 'rejected', 'stale', 'nothing_to_do']),
        at: z.iso.datetime(),
        errors: z.array(documentError),
      }),
    )
    .describe('Newest first.'),
})

type AgentView = z.output<typeof agentShape>

const listQuery = z.strictObject({
  pageSize: z.coerce.number().int().min(1).max(1000).optional().describe('Agents a page; 1000 if absent.'),
  pageToken: z.uuid().optional().describe('From the previous page.'),
})

const agentPage = z.strictObject({
  agents: z.array(agentShape),
  nextPageToken: z.string().describe('Empty on the last page.'),
})

const agentParams = z.strictObject({ id: z.uuid().describe('Agent id.') })

export const agents: Resource = (app, { store, sessions }) => {
  app.get('/agents', {
    schema: {
      operationId: 'listAgents',
      summary: 'Agents that have ever connected, by id',
      querystring: documented(listQuery),
      response: answers(200, 'A page of agents.', documented(agentPage)),
    },
    handler: async (request) => {
      const { pageSize = 1000, pageToken } = parseInput(listQuery, request.query, 'query')
      const found = await store.agents.list(pageSize + 1, pageToken)
      const page = found.slice(0, pageSize)
      const nextPageToken = found.length > pageSize ? (page.at(-1)?.id ?? '') : ''
      return { agents: page.map((agent) => toView(agent, sessions.latest?.version)), nextPageToken }
    },
  })

  app.get('/agents/:id', {
    schema: {
      operationId: 'getAgent',
      summary: 'One agent with the history of its configuration',
      params: documented(agentParams),
      response: answers(200, 'The agent.', documented(agentDetail)),
    },
    handler: async (request) => {
      const { id } = parseInput(agentParams, request.params, 'path')
      const agent = await store.agents.get(id)
      if (agent === undefined) throw notFound(id)
      const attempts = await store.attempts.list(id, historyLength)
      const history = attempts.map(({ version, outcome, atMs, errors }) => ({
        version,
        outcome,
        at: toText(atMs),
        errors,
      }))
      return { ...toView(agent, sessions.latest?.version), history }
    },
  })

  app.post('/agents/:id/retry', {
    schema: {
      operationId: 'retryAgent',
      summary: 'Offer the latest revision again to an agent that rejected it',
      params: documented(agentParams),
      response: answers(
        202,
        'It will be offered.',
        documented(z.strictObject({ version: z.number().int() })),
      ),
    },
    handler: async (request, reply) => {
      const { id } = parseInput(agentParams, request.params, 'path')
      const version = sessions.latest?.version
      if (version === undefined) throw new ProblemError(409, 'NO_REVISION', 'there is no revision to offer')
      if (!(await store.agents.requestRetry(id, version))) throw notFound(id)
      await sessions.retry(id)
      return reply.code(202).send({ version })
    },
  })
}

function toView(agent: Agent, latestVersion: number | undefined): AgentView {
  const { capture, ingest, lastAttempt } = agent
  return {
    id: agent.id,
    host: agent.host,
    version: agent.version,
    kernel: agent.kernel,
    architecture: agent.architecture,
    bootId: agent.bootId,
    labels: { ...agent.labels },
    connected: agent.connected,
    firstSeen: toText(agent.firstSeenAtMs),
    lastSeen: toText(agent.lastSeenAtMs),
    health: agent.health,
    running: agent.running,
    lastGood: agent.lastGood,
    ...(lastAttempt && { lastAttempt: toAttemptView(lastAttempt) }),
    inSync: latestVersion === undefined || agent.running.version === latestVersion,
    stats: { ...(capture && { capture }), ...(ingest && { ingest }) },
  }
}

function toAttemptView(attempt: NonNullable<Agent['lastAttempt']>): NonNullable<AgentView['lastAttempt']> {
  const { version, sha256, state, tries, errors } = attempt
  const message = errors.map((error) => error.message).join('; ')
  return {
    version,
    sha256,
    state,
    tries,
    at: toText(attempt.atMs),
    ...(errors.length > 0 && { error: { message, errors: [...errors] } }),
  }
}

function notFound(id: string): ProblemError {
  return new ProblemError(404, 'NOT_FOUND', `no agent ${id}`)
}

function toText(ms: number): string {
  return new Date(ms).toISOString()
}
