/**
 * Brings the schema up to date: numbered SQL files, each applied once, under a lock, with their checksums kept.
 * Statements in a file are separated by ";" at the end of a line and must be safe to repeat (IF NOT EXISTS):
 * a file that was cut short by a crash is applied again.
 */
import { createHash, randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClickHouse } from './client.js'

/** The migrations that belong to this build; the path holds for the compiled file too. */
export const MIGRATIONS_DIR = new URL('../../../../pulse/migrations/', import.meta.url)

interface Migration {
  readonly number: number
  readonly name: string
  readonly checksum: string
  readonly statements: readonly string[]
}

/** The database was made by a newer or a different build; nothing was changed. */
export class SchemaMismatchError extends Error {}

const LOCK_WAIT_MS = 30_000

/** Applies what is missing; returns the names of what it applied. */
export async function migrate(
  clickhouse: ClickHouse,
  database: string,
  directory: URL = MIGRATIONS_DIR,
): Promise<string[]> {
  const migrations = await readMigrations(directory, database)
  await clickhouse.command(`CREATE DATABASE IF NOT EXISTS ${database}`)
  await clickhouse.command(
    `CREATE TABLE IF NOT EXISTS ${database}.schema_migrations (number UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = MergeTree ORDER BY number`,
  )
  return await withLock(clickhouse, database, async () => {
    const missing = await findMissing(clickhouse, database, migrations)
    for (const migration of missing) await apply(clickhouse, database, migration)
    return missing.map((migration) => migration.name)
  })
}

async function readMigrations(directory: URL, database: string): Promise<Migration[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort()
  return await Promise.all(
    names.map(async (name, index) => {
      const number = Number(/^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1])
      if (number !== index + 1) {
        throw new Error(
          `migration ${name}: expected a name such as ${String(index + 1).padStart(4, '0')}_name.sql`,
        )
      }
      const text = await readFile(new URL(name, directory), 'utf8')
      return {
        number,
        name,
        checksum: createHash('sha256').update(text).digest('hex'),
        statements: splitStatements(text.replaceAll('{database}', database)),
      }
    }),
  )
}

function splitStatements(text: string): string[] {
  const withoutComments = text.replace(/^--.*$/gm, '')
  return withoutComments
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
}

async function findMissing(
  clickhouse: ClickHouse,
  database: string,
  migrations: readonly Migration[],
): Promise<readonly Migration[]> {
  const { rows } = await clickhouse.query(
    `SELECT number, any(name), any(checksum) FROM ${database}.schema_migrations GROUP BY number ORDER BY number`,
  )
  for (const [number, name, checksum] of rows) {
    const own = migrations[Number(number) - 1]
    if (own === undefined) {
      throw new SchemaMismatchError(
        `database ${database} has migration ${String(name)}, which is newer than this build (it knows up to ${migrations.length})`,
      )
    }
    if (own.checksum !== checksum) {
      throw new SchemaMismatchError(
        `migration ${own.name} differs from what was applied to database ${database} (checksum ${own.checksum}, applied ${String(checksum)})`,
      )
    }
  }
  const applied = new Set(rows.map(([number]) => Number(number)))
  return migrations.filter((migration) => !applied.has(migration.number))
}

async function apply(clickhouse: ClickHouse, database: string, migration: Migration): Promise<void> {
  for (const statement of migration.statements) await clickhouse.command(statement)
  const row = Buffer.from(
    `${JSON.stringify({ number: migration.number, name: migration.name, checksum: migration.checksum })}\n`,
  )
  await clickhouse.insert(
    `INSERT INTO ${database}.schema_migrations (number, name, checksum) FORMAT JSONEachRow`,
    row,
    {
      async_insert: 0,
    },
  )
}

/** CREATE TABLE without IF NOT EXISTS succeeds for one only. A lock that outlives its holder is taken over. */
async function withLock<T>(clickhouse: ClickHouse, database: string, act: () => Promise<T>): Promise<T> {
  const lock = `${database}.schema_lock`
  const token = randomUUID()
  const giveUpAt = Date.now() + LOCK_WAIT_MS
  while (!(await tryLock(clickhouse, lock, token))) {
    if (Date.now() > giveUpAt) await clickhouse.command(`DROP TABLE IF EXISTS ${lock}`)
    await sleep(200)
  }
  try {
    return await act()
  } finally {
    await clickhouse.command(`DROP TABLE IF EXISTS ${lock}`)
  }
}

const TABLE_ALREADY_EXISTS = 57

async function tryLock(clickhouse: ClickHouse, lock: string, token: string): Promise<boolean> {
  try {
    await clickhouse.command(`CREATE TABLE ${lock} (holder String) ENGINE = Memory COMMENT '${token}'`)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === TABLE_ALREADY_EXISTS) return false
    throw error
  }
}
