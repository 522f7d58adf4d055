/** SQLite through node:sqlite below Kysely. */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { Kysely, SqliteDialect, sql } from 'kysely'
import { migrate } from './migrations.js'
import type { ControlTables } from './schema.js'

/** How long opening waits for another process that is just ending. */
const busyTimeoutMs = 2_000

/**
 * Opens (or makes) the database file, ready for use: durable at each commit, foreign keys on, schema up to date.
 * Until it is closed no other process can open it.
 * @param path a file, in a directory that exists.
 */
export async function openSqlite(path: string): Promise<Kysely<ControlTables>> {
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: true, timeout: busyTimeoutMs })
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;')
    migrate(database)
  } catch (error) {
    database.close()
    throw isLocked(error) ? new Error(`${path} is in use by another process`, { cause: error }) : error
  }
  const db = new Kysely<ControlTables>({ dialect: new SqliteDialect({ database: adapt(database) }) })
  // Kysely closes only what it has used.
  await sql`SELECT 1`.execute(db)
  return db
}

/** What Kysely expects of a driver, over node:sqlite, which lacks `reader` and takes parameters one by one. */
function adapt(database: DatabaseSync) {
  return {
    close: () => database.close(),
    prepare: (sql: string) => {
      const statement = database.prepare(sql)
      return {
        reader: statement.columns().length > 0,
        all: (parameters: readonly unknown[]) => statement.all(...parameters.map(toInput)),
        run: (parameters: readonly unknown[]) => statement.run(...parameters.map(toInput)),
        iterate: (parameters: readonly unknown[]) => statement.iterate(...parameters.map(toInput)),
      }
    },
  }
}

function isLocked(error: unknown): boolean {
  const sqliteBusy = 5
  return error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy
}

/** Refuses what node:sqlite would misread: an object as the first parameter shifts all that follow. */
function toInput(value: unknown): SQLInputValue {
  switch (typeof value) {
    case 'string':
    case 'bigint':
      return value
    case 'number':
      if (Number.isFinite(value)) return value
      break
    case 'object':
      if (value === null) return null
      break
    default:
  }
  throw new TypeError(`a SQL parameter is a string, finite number, bigint or null; got ${describe(value)}`)
}

function describe(value: unknown): string {
  return typeof value === 'object' && value !== null ? value.constructor.name : String(value)
}
