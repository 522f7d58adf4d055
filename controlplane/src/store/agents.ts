/** Agents: who they are, whether they are connected, what they run and what they last tried. */
import type { Insertable, Kysely, Selectable, Updateable } from 'kysely'
import type { DocumentError } from './attempts.js'
import type { AgentsTable, ControlTables } from './schema.js'

/** A version of a document by number and content. Version 0 is the file that the agent was started with. */
export interface VersionRef {
  readonly version: number
  /** Hexadecimal, or empty. */
  readonly sha256: string
}

export interface LastAttempt extends VersionRef {
  readonly state: 'received' | 'applying' | 'applied' | 'rejected' | 'rolled_back' | 'unknown'
  readonly errors: readonly DocumentError[]
  readonly atMs: number
  readonly tries: number
}

/** Counters as the agent sent them; 64-bit numbers as text. */
export type Counters = Readonly<Record<string, string | number>>

export interface Agent {
  readonly id: string
  readonly host: string
  readonly version: string
  readonly kernel: string
  readonly architecture: string
  readonly bootId: string
  readonly labels: Readonly<Record<string, string>>
  readonly connected: boolean
  readonly firstSeenAtMs: number
  readonly lastSeenAtMs: number
  readonly health: 'healthy' | 'degraded' | 'unknown'
  readonly running: VersionRef
  readonly lastGood: VersionRef
  readonly lastAttempt: LastAttempt | undefined
  readonly rejectedVersion: number
  readonly retryVersion: number
  readonly capture: Counters | undefined
  readonly ingest: Counters | undefined
}

/** What an agent says about itself when it connects. */
export interface AgentHello {
  readonly id: string
  readonly host: string
  readonly version: string
  readonly kernel: string
  readonly architecture: string
  readonly bootId: string
  readonly labels: Readonly<Record<string, string>>
  readonly running: VersionRef
  readonly lastGood: VersionRef
  readonly lastAttempt: LastAttempt | undefined
}

export interface AgentHeartbeat {
  readonly running: VersionRef | undefined
  readonly health: Agent['health']
  readonly capture: Counters | undefined
  readonly ingest: Counters | undefined
}

/** What an agent made of a push. */
export interface AgentResult {
  readonly running: VersionRef | undefined
  readonly lastGood: VersionRef | undefined
  readonly attempt: LastAttempt
}

/** Agents that are not connected are remembered up to this number. */
const defaultMaxGoneAgents = 20_000

export class AgentStore {
  readonly #db: Kysely<ControlTables>
  readonly #now: () => number
  readonly #maxGoneAgents: number

  constructor(db: Kysely<ControlTables>, now: () => number, maxGoneAgents = defaultMaxGoneAgents) {
    this.#db = db
    this.#now = now
    this.#maxGoneAgents = maxGoneAgents
  }

  /** Nobody is connected to a server that has just started. */
  async disconnectAll(): Promise<void> {
    await this.#db.updateTable('agents').set({ connected: 0, session_id: '' }).execute()
  }

  /** Makes or updates the agent and gives what is known of it now. */
  async connect(hello: AgentHello, sessionId: string): Promise<Agent> {
    const nowMs = this.#now()
    const known = describeHello(hello, sessionId, nowMs)
    const fresh: Insertable<AgentsTable> = {
      ...known,
      id: hello.id,
      first_seen_ms: nowMs,
      health: 'unknown',
      rejected_version: 0,
      retry_version: 0,
      capture_stats: '',
      ingest_stats: '',
    }
    const row = await this.#db
      .insertInto('agents')
      .values(fresh)
      .onConflict((conflict) => conflict.column('id').doUpdateSet(known))
      .returningAll()
      .executeTakeFirstOrThrow()
    if (row.first_seen_ms === nowMs) await this.#forgetOldest()
    return fromRow(row)
  }

  /** Without effect if another session has taken the agent over. */
  async disconnect(id: string, sessionId: string): Promise<void> {
    await this.#db
      .updateTable('agents')
      .set({ connected: 0, session_id: '', last_seen_ms: this.#now() })
      .where('id', '=', id)
      .where('session_id', '=', sessionId)
      .execute()
  }

  /** Also marks the agent as connected by the session, should two of its sessions have overlapped. */
  async heartbeat(id: string, sessionId: string, heartbeat: AgentHeartbeat): Promise<void> {
    const values: Updateable<AgentsTable> = {
      connected: 1,
      session_id: sessionId,
      last_seen_ms: this.#now(),
      health: heartbeat.health,
      ...(heartbeat.running && runningColumns(heartbeat.running)),
      ...(heartbeat.capture && { capture_stats: JSON.stringify(heartbeat.capture) }),
      ...(heartbeat.ingest && { ingest_stats: JSON.stringify(heartbeat.ingest) }),
    }
    await this.#db.updateTable('agents').set(values).where('id', '=', id).execute()
  }

  /** Records an answer to a push; a rejection stands until a newer version or a retry. */
  async recordResult(id: string, result: AgentResult): Promise<void> {
    const values: Updateable<AgentsTable> = {
      last_seen_ms: this.#now(),
      last_attempt: JSON.stringify(result.attempt),
      retry_version: 0,
      ...(result.running && runningColumns(result.running)),
      ...(result.lastGood && lastGoodColumns(result.lastGood)),
      ...(isFailure(result.attempt) && { rejected_version: result.attempt.version }),
    }
    await this.#db.updateTable('agents').set(values).where('id', '=', id).execute()
  }

  /** Asks that the version be offered again although the agent refused it. False: there is no such agent. */
  async requestRetry(id: string, version: number): Promise<boolean> {
    const result = await this.#db
      .updateTable('agents')
      .set({ rejected_version: 0, retry_version: version })
      .where('id', '=', id)
      .executeTakeFirst()
    return result.numUpdatedRows > 0n
  }

  /** By id, ascending, from after the given id. */
  async list(limit: number, after?: string): Promise<Agent[]> {
    let query = this.#db.selectFrom('agents').selectAll()
    if (after !== undefined) query = query.where('id', '>', after)
    const rows = await query.orderBy('id').limit(limit).execute()
    return rows.map(fromRow)
  }

  async get(id: string): Promise<Agent | undefined> {
    const row = await this.#db.selectFrom('agents').selectAll().where('id', '=', id).executeTakeFirst()
    return row && fromRow(row)
  }

  /** Beyond the limit the agents that have been gone longest are forgotten, with their history. */
  async #forgetOldest(): Promise<void> {
    const excess = this.#db
      .selectFrom('agents')
      .select('id')
      .where('connected', '=', 0)
      .orderBy('last_seen_ms', 'desc')
      .offset(this.#maxGoneAgents)
      .limit(1000)
    await this.#db.deleteFrom('agents').where('id', 'in', excess).execute()
  }
}

/** Whether an attempt ended with the agent running something else. */
export function isFailure(attempt: LastAttempt): boolean {
  return attempt.state === 'rejected' || attempt.state === 'rolled_back'
}

function describeHello(hello: AgentHello, sessionId: string, nowMs: number) {
  return {
    host: hello.host,
    agent_version: hello.version,
    kernel: hello.kernel,
    architecture: hello.architecture,
    boot_id: hello.bootId,
    labels: JSON.stringify(hello.labels),
    connected: 1,
    session_id: sessionId,
    last_seen_ms: nowMs,
    ...runningColumns(hello.running),
    ...lastGoodColumns(hello.lastGood),
    last_attempt: hello.lastAttempt === undefined ? '' : JSON.stringify(hello.lastAttempt),
  }
}

function runningColumns(ref: VersionRef) {
  return { running_version: ref.version, running_sha256: ref.sha256 }
}

function lastGoodColumns(ref: VersionRef) {
  return { last_good_version: ref.version, last_good_sha256: ref.sha256 }
}

function fromRow(row: Selectable<AgentsTable>): Agent {
  return {
    id: row.id,
    host: row.host,
    version: row.agent_version,
    kernel: row.kernel,
    architecture: row.architecture,
    bootId: row.boot_id,
    labels: JSON.parse(row.labels) as Record<string, string>,
    connected: row.connected === 1,
    firstSeenAtMs: row.first_seen_ms,
    lastSeenAtMs: row.last_seen_ms,
    health: row.health as Agent['health'],
    running: { version: row.running_version, sha256: row.running_sha256 },
    lastGood: { version: row.last_good_version, sha256: row.last_good_sha256 },
    lastAttempt: parse(row.last_attempt) as LastAttempt | undefined,
    rejectedVersion: row.rejected_version,
    retryVersion: row.retry_version,
    capture: parse(row.capture_stats) as Counters | undefined,
    ingest: parse(row.ingest_stats) as Counters | undefined,
  }
}

function parse(json: string): unknown {
  return json === '' ? undefined : JSON.parse(json)
}
