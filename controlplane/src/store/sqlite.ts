/** SQLite through node:sqlite below Kysely. */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { Kysely, SqliteDialect } from 'kysely'
import { migrate } from './migrations.js'
import type { ControlTables } from './schema.js'

/** How long a statement waits for another process's lock. */
const busyTimeoutMs = 5_000

/**
 * Opens (or makes) the database file, ready for use: durable at each commit, foreign keys on, schema up to date.
 * @param path a file, in a directory that exists.
 */
export function openSqlite(path: string): Kysely<ControlTables> {
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: true, timeout: busyTimeoutMs })
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;')
    migrate(database)
  } catch (error) {
    database.close()
    throw error
  }
  return new Kysely<ControlTables>({ dialect: new SqliteDialect({ database: adapt(database) }) })
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
