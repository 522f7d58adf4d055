import assert from 'node:assert/strict'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { pino } from 'pino'
import { ClickHouse } from './client.js'
import { EmbeddedEngine } from './embedded/engine.js'
import { MIGRATIONS_DIR, migrate, SchemaMismatchError } from './migrate.js'

describe('migrate', () => {
  let directory: string
  let engine: EmbeddedEngine
  let clickhouse: ClickHouse
  let own: URL
  before(async function () {
    this.timeout(60_000)
    directory = await mkdtemp(join(tmpdir(), 'cleartap-migrate-'))
    const log = pino({ level: 'silent' })
    engine = await EmbeddedEngine.start({ dataDir: join(directory, 'db'), maxInsertBytes: 1 << 20, log })
    clickhouse = new ClickHouse(engine)
    await cp(MIGRATIONS_DIR, join(directory, 'migrations'), { recursive: true })
    own = pathToFileURL(`${join(directory, 'migrations')}/`)
  })
  after(async function () {
    this.timeout(60_000)
    await clickhouse.close()
    await engine.close(1000)
    await rm(directory, { recursive: true, force: true })
  })

  const schema = async () =>
    (
      await clickhouse.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = 'm' ORDER BY name",
      )
    ).rows

  it('applies each file once', async function () {
    this.timeout(20_000)
    assert.deepEqual(await migrate(clickhouse, 'm', own), ['0001_events.sql', '0002_streams.sql'])
    const before = await schema()
    assert.deepEqual(await migrate(clickhouse, 'm', own), [])
    assert.deepEqual(await schema(), before)
  })

  it('applies what was added, even where a first try was cut short', async () => {
    const name = '0003_more.sql'
    const create = 'CREATE TABLE IF NOT EXISTS {database}.more (a UInt8) ENGINE = MergeTree ORDER BY a'
    await writeFile(new URL(name, own), `${create};\nALTER TABLE {database}.nope ADD COLUMN b UInt8;\n`)
    await assert.rejects(migrate(clickhouse, 'm', own), /nope/)
    await writeFile(
      new URL(name, own),
      `-- More; with a comment.\n${create};\nALTER TABLE {database}.more ADD COLUMN IF NOT EXISTS b UInt8;\n`,
    )
    assert.deepEqual(await migrate(clickhouse, 'm', own), [name])
  })

  it('lets one of several that start together do it', async function () {
    this.timeout(20_000)
    const applied = await Promise.all([1, 2, 3].map(() => migrate(clickhouse, 'together', MIGRATIONS_DIR)))
    assert.deepEqual(applied.map((names) => names.length).sort(), [0, 0, 2])
  })

  it('refuses a schema that is newer or differs, and changes nothing', async () => {
    const before = await schema()
    await assert.rejects(migrate(clickhouse, 'm', MIGRATIONS_DIR), (error) => {
      assert.ok(error instanceof SchemaMismatchError)
      assert.match(error.message, /0003_more.sql, which is newer than this build \(it knows up to 2\)/)
      return true
    })
    await writeFile(new URL('0003_more.sql', own), 'SELECT 1;\n')
    await assert.rejects(migrate(clickhouse, 'm', own), /0003_more.sql differs/)
    await writeFile(new URL('0005_gap.sql', own), 'SELECT 1;\n')
    await assert.rejects(migrate(clickhouse, 'm', own), /0005_gap.sql: expected a name such as 0004_name.sql/)
    assert.deepEqual(await schema(), before)
  })
})
