/** Revisions: numbered versions of a configuration document. They are added, never changed. */
import { createHash } from 'node:crypto'
import type { Kysely, Selectable } from 'kysely'
import type { ControlTables, RevisionsTable } from './schema.js'

/** The one resource so far: the agents' capture settings. */
export const agentResource = 'agent'

/**
 * Versions that agents claim to run count only below this: an agent must not be able to use the numbers up.
 */
const maxClaimedVersion = 2 ** 31

/** How long an idempotency key is remembered. */
const idempotencyKeyLifeMs = 24 * 60 * 60 * 1000

export interface Revision {
  readonly resource: string
  /** Only rises. */
  readonly version: number
  readonly content: string
  /** Of content, hexadecimal. */
  readonly sha256: string
  readonly author: string
  readonly note: string
  readonly createdAtMs: number
}

export interface NewRevision {
  readonly content: string
  readonly author: string
  readonly note: string
  /** A second call with the same key and content makes nothing and gives the first call's revision. */
  readonly idempotencyKey?: string
  /** If given, the revision is added only while this version is the latest (0: while there is none). */
  readonly expectedLatest?: number
}

export type AddOutcome =
  | { readonly kind: 'added'; readonly revision: Revision }
  | { readonly kind: 'repeated'; readonly revision: Revision }
  | { readonly kind: 'key_reused' }
  | { readonly kind: 'latest_differs'; readonly latest: number }

export class RevisionStore {
  readonly #db: Kysely<ControlTables>
  readonly #now: () => number

  constructor(db: Kysely<ControlTables>, now: () => number) {
    this.#db = db
    this.#now = now
  }

  async latest(): Promise<Revision | undefined> {
    const row = await this.#db
      .selectFrom('revisions')
      .selectAll()
      .where('resource', '=', agentResource)
      .orderBy('version', 'desc')
      .limit(1)
      .executeTakeFirst()
    return row && fromRow(row)
  }

  async get(version: number): Promise<Revision | undefined> {
    const row = await this.#db
      .selectFrom('revisions')
      .selectAll()
      .where('resource', '=', agentResource)
      .where('version', '=', version)
      .executeTakeFirst()
    return row && fromRow(row)
  }

  /** Newest first, those below the version if one is given. */
  async list(limit: number, below?: number): Promise<Revision[]> {
    let query = this.#db.selectFrom('revisions').selectAll().where('resource', '=', agentResource)
    if (below !== undefined) query = query.where('version', '<', below)
    const rows = await query.orderBy('version', 'desc').limit(limit).execute()
    return rows.map(fromRow)
  }

  async add(revision: NewRevision): Promise<AddOutcome> {
    const nowMs = this.#now()
    const sha256 = hash(revision.content)
    const requestSha256 = hash(JSON.stringify([revision.content, revision.note]))
    return this.#db.transaction().execute(async (transaction) => {
      const key = revision.idempotencyKey
      if (key !== undefined) {
        const earlier = await findKey(transaction, key, nowMs)
        if (earlier !== undefined) return repeat(transaction, earlier, requestSha256)
      }
      const latest = await latestVersion(transaction)
      if (revision.expectedLatest !== undefined && revision.expectedLatest !== latest) {
        return { kind: 'latest_differs', latest } as const
      }
      const row: RevisionsTable = {
        resource: agentResource,
        version: Math.max(latest, await highestClaimed(transaction)) + 1,
        content: revision.content,
        sha256,
        author: revision.author,
        note: revision.note,
        created_at_ms: nowMs,
      }
      await transaction.insertInto('revisions').values(row).execute()
      if (key !== undefined) {
        await transaction
          .insertInto('idempotency_keys')
          .values({ key, request_sha256: requestSha256, version: row.version, created_at_ms: nowMs })
          .execute()
      }
      return { kind: 'added', revision: fromRow(row) } as const
    })
  }
}

function hash(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex')
}

async function findKey(db: Kysely<ControlTables>, key: string, nowMs: number) {
  await db
    .deleteFrom('idempotency_keys')
    .where('created_at_ms', '<', nowMs - idempotencyKeyLifeMs)
    .execute()
  return db.selectFrom('idempotency_keys').selectAll().where('key', '=', key).executeTakeFirst()
}

async function repeat(
  db: Kysely<ControlTables>,
  earlier: { readonly version: number; readonly request_sha256: string },
  requestSha256: string,
): Promise<AddOutcome> {
  if (earlier.request_sha256 !== requestSha256) return { kind: 'key_reused' }
  const row = await db
    .selectFrom('revisions')
    .selectAll()
    .where('resource', '=', agentResource)
    .where('version', '=', earlier.version)
    .executeTakeFirstOrThrow()
  return { kind: 'repeated', revision: fromRow(row) }
}

async function latestVersion(db: Kysely<ControlTables>): Promise<number> {
  const row = await db
    .selectFrom('revisions')
    .select((select) => select.fn.max('version').as('version'))
    .where('resource', '=', agentResource)
    .executeTakeFirst()
  return row?.version ?? 0
}

/** After a lost or restored database agents may run versions that it does not know: new ones must lie above. */
async function highestClaimed(db: Kysely<ControlTables>): Promise<number> {
  const row = await db
    .selectFrom('agents')
    .select((select) => select.fn.max('running_version').as('version'))
    .where('running_version', '<', maxClaimedVersion)
    .executeTakeFirst()
  return row?.version ?? 0
}

function fromRow(row: Selectable<RevisionsTable>): Revision {
  return {
    resource: row.resource,
    version: row.version,
    content: row.content,
    sha256: row.sha256,
    author: row.author,
    note: row.note,
    createdAtMs: row.created_at_ms,
  }
}
