/** History of pushes: what each agent made of each revision that it was offered. */
import type { Kysely } from 'kysely'
import { uuidv7 } from 'uuidv7'
import type { ControlTables } from './schema.js'

/** Rows kept an agent; older ones go. */
const maxAttemptsPerAgent = 200

/**
 * What became of an offer. `stale`: the answer came with a nonce that was no longer waited for.
 * `nothing_to_do`: the agent already ran the version.
 */
export type AttemptOutcome = 'pushed' | 'applied' | 'rejected' | 'stale' | 'nothing_to_do'

/** One thing wrong with a document, as the agent or the validation here said it. Line and column from 1; 0 unknown. */
export interface DocumentError {
  readonly path: string
  readonly code: string
  readonly message: string
  readonly line: number
  readonly column: number
}

export interface Attempt {
  readonly agentId: string
  readonly resource: string
  readonly version: number
  readonly nonce: string
  readonly outcome: AttemptOutcome
  readonly errors: readonly DocumentError[]
  readonly atMs: number
}

export class AttemptStore {
  readonly #db: Kysely<ControlTables>
  readonly #now: () => number

  constructor(db: Kysely<ControlTables>, now: () => number) {
    this.#db = db
    this.#now = now
  }

  async record(attempt: Omit<Attempt, 'atMs'>): Promise<void> {
    await this.#db
      .insertInto('attempts')
      .values({
        id: uuidv7(),
        agent_id: attempt.agentId,
        resource: attempt.resource,
        version: attempt.version,
        nonce: attempt.nonce,
        outcome: attempt.outcome,
        errors: JSON.stringify(attempt.errors),
        at_ms: this.#now(),
      })
      .execute()
    await this.#trim(attempt.agentId)
  }

  /** Newest first. */
  async list(agentId: string, limit: number): Promise<Attempt[]> {
    const rows = await this.#db
      .selectFrom('attempts')
      .selectAll()
      .where('agent_id', '=', agentId)
      .orderBy('id', 'desc')
      .limit(limit)
      .execute()
    return rows.map((row) => ({
      agentId: row.agent_id,
      resource: row.resource,
      version: row.version,
      nonce: row.nonce,
      outcome: row.outcome as AttemptOutcome,
      errors: JSON.parse(row.errors) as DocumentError[],
      atMs: row.at_ms,
    }))
  }

  async #trim(agentId: string): Promise<void> {
    const oldest = this.#db
      .selectFrom('attempts')
      .select('id')
      .where('agent_id', '=', agentId)
      .orderBy('id', 'desc')
      .offset(maxAttemptsPerAgent)
      .limit(1)
    await this.#db.deleteFrom('attempts').where('agent_id', '=', agentId).where('id', '<=', oldest).execute()
  }
}
