/** Numbered changes of the control database. A released migration is never edited: its checksum is recorded. */
import { createHash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'

interface Migration {
  readonly number: number
  readonly name: string
  readonly sql: string
}

const migrations: readonly Migration[] = [
  {
    number: 1,
    name: 'agents-revisions-attempts',
    sql: `
CREATE TABLE agents (
  id TEXT PRIMARY KEY,
  host TEXT NOT NULL,
  agent_version TEXT NOT NULL,
  kernel TEXT NOT NULL,
  architecture TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  labels TEXT NOT NULL,
  connected INTEGER NOT NULL,
  session_id TEXT NOT NULL,
  first_seen_ms BIGINT NOT NULL,
  last_seen_ms BIGINT NOT NULL,
  health TEXT NOT NULL,
  running_version BIGINT NOT NULL,
  running_sha256 TEXT NOT NULL,
  last_good_version BIGINT NOT NULL,
  last_good_sha256 TEXT NOT NULL,
  last_attempt TEXT NOT NULL,
  rejected_version BIGINT NOT NULL,
  retry_version BIGINT NOT NULL,
  capture_stats TEXT NOT NULL,
  ingest_stats TEXT NOT NULL
);
CREATE TABLE revisions (
  resource TEXT NOT NULL,
  version BIGINT NOT NULL,
  content TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  author TEXT NOT NULL,
  note TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (resource, version)
);
CREATE TABLE attempts (
  id TEXT PRIMARY KEY,
  agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  resource TEXT NOT NULL,
  version BIGINT NOT NULL,
  nonce TEXT NOT NULL,
  outcome TEXT NOT NULL,
  errors TEXT NOT NULL,
  at_ms BIGINT NOT NULL
);
CREATE INDEX attempts_by_agent ON attempts (agent_id, id);
CREATE TABLE idempotency_keys (
  key TEXT PRIMARY KEY,
  request_sha256 TEXT NOT NULL,
  version BIGINT NOT NULL,
  created_at_ms BIGINT NOT NULL
);`,
  },
]

/**
 * Brings the database to the newest schema, all in one transaction.
 * @throws if the database was made by a newer release, or a migration that ran differs from the one known here.
 */
export function migrate(database: DatabaseSync): void {
  database.exec(
    'CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL)',
  )
  database.exec('BEGIN IMMEDIATE')
  try {
    const done = readDone(database)
    const newest = migrations.at(-1)?.number ?? 0
    const unknown = [...done.keys()].find((number) => number > newest)
    if (unknown !== undefined) {
      throw new Error(
        `the control database has schema ${unknown}; this release knows up to ${newest}: use a newer release`,
      )
    }
    for (const migration of migrations) apply(database, migration, done.get(migration.number))
    database.exec('COMMIT')
  } catch (error) {
    database.exec('ROLLBACK')
    throw error
  }
}

function apply(database: DatabaseSync, migration: Migration, doneSha256: string | undefined): void {
  const sha256 = createHash('sha256').update(migration.sql).digest('hex')
  if (doneSha256 === sha256) return
  if (doneSha256 !== undefined) {
    throw new Error(`migration ${migration.number} (${migration.name}) ran with other content before`)
  }
  database.exec(migration.sql)
  database
    .prepare('INSERT INTO migrations (number, name, sha256) VALUES (?, ?, ?)')
    .run(migration.number, migration.name, sha256)
}

function readDone(database: DatabaseSync): Map<number, string> {
  const rows = database.prepare('SELECT number, sha256 FROM migrations').all()
  return new Map(rows.map(({ number, sha256 }) => [Number(number), String(sha256)]))
}
