/** The event store: a ClickHouse server, or the embedded engine; its schema up to date. */
import { join } from 'node:path'
import type { PulseConfig } from '../../common/config/schema.js'
import type { Logger } from '../../common/log.js'
import { readSecret } from '../../common/secret.js'
import { type AddressSource, ClickHouse } from './clickhouse/client.js'
import { EmbeddedEngine } from './clickhouse/embedded/engine.js'
import { migrate } from './clickhouse/migrate.js'

export interface EventStore {
  readonly clickhouse: ClickHouse
  readonly database: string
  /** Absent with a server of its own. */
  readonly engine: EmbeddedEngine | undefined
  /** Ends connections; lets the embedded engine finish for graceMs. */
  close(graceMs: number): Promise<void>
}

/** Database of the embedded engine. */
const EMBEDDED_DATABASE = 'cleartap'
/** Room of an insert above a full block: the batch that filled it. */
const INSERT_ROOM = 4

/** Throws if ClickHouse does not answer, its schema is newer, or the data directory is in use. */
export async function openStore(
  config: PulseConfig,
  log: Logger,
  env: NodeJS.ProcessEnv,
): Promise<EventStore> {
  const server = config.clickhouse
  if (server !== undefined) {
    const address = {
      url: server.url,
      username: server.username,
      password: server.password ? readSecret(server.password, env) : '',
    }
    return await prepare({ address: () => address }, server.database, undefined, log)
  }
  const maxInsertBytes = INSERT_ROOM * (config.ingest.max_block_bytes + config.ingest.max_inflated_bytes)
  const dataDir = join(config.data_dir, 'clickhouse')
  const engine = await EmbeddedEngine.start({ dataDir, maxInsertBytes, log })
  try {
    return await prepare(engine, EMBEDDED_DATABASE, engine, log)
  } catch (error) {
    await engine.close(0)
    throw error
  }
}

async function prepare(
  source: AddressSource,
  database: string,
  engine: EmbeddedEngine | undefined,
  log: Logger,
): Promise<EventStore> {
  const clickhouse = new ClickHouse(source)
  try {
    const applied = await migrate(clickhouse, database)
    if (applied.length > 0) log.info({ applied }, 'schema migrated')
  } catch (error) {
    await clickhouse.close()
    throw error
  }
  return {
    clickhouse,
    database,
    engine,
    async close(graceMs) {
      await clickhouse.close()
      await engine?.close(graceMs)
    },
  }
}
