/** The answer of GET /api/v1/agents as the page reads it. */

export interface AgentView {
  readonly id: string
  readonly host: string
  readonly version: string
  readonly kernel: string
  readonly connected: boolean
  /** Unix epoch milliseconds; undefined if never. */
  readonly lastSeenMs: number | undefined
  /** Revision of the configuration that runs; "0" is the agent's own file. */
  readonly runningVersion: string
  /** What went wrong with the latest revision; undefined if nothing did. */
  readonly configError: string | undefined
  /** Plaintext bytes that the agent did not see, since it started; undefined before its first report. */
  readonly bytesLost: number | undefined
}

/** Reads the answer. Throws if it holds no list of agents; a field that is missing becomes "" or undefined. */
export function parseAgents(value: unknown): readonly AgentView[] {
  const agents = field(value, 'agents')
  if (!Array.isArray(agents)) throw new Error('the answer holds no list "agents"')
  return agents.map(parseAgent)
}

function parseAgent(agent: unknown): AgentView {
  const attempt = field(agent, 'lastAttempt')
  const lastSeenMs = Date.parse(text(field(agent, 'lastSeen')))
  const capture = field(field(agent, 'stats'), 'capture')
  return {
    id: text(field(agent, 'id')),
    host: text(field(agent, 'host')),
    version: text(field(agent, 'version')),
    kernel: text(field(agent, 'kernel')),
    connected: field(agent, 'connected') === true,
    lastSeenMs: Number.isNaN(lastSeenMs) ? undefined : lastSeenMs,
    runningVersion: text(field(field(agent, 'running'), 'version')) || '0',
    configError: configError(attempt),
    bytesLost: capture === undefined ? undefined : Number(field(capture, 'bytesLost') ?? 0),
  }
}

function configError(attempt: unknown): string | undefined {
  const reason = text(field(field(attempt, 'error'), 'message'))
  if (reason === '') return undefined
  return `revision ${text(field(attempt, 'version'))}: ${reason}`
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return Object.getOwnPropertyDescriptor(value, name)?.value
}

function text(value: unknown): string {
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : ''
}
