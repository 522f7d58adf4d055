import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { pino } from 'pino'
import { ClickHouse, StatementError } from '../client.js'
import { EmbeddedEngine, spoolPrefix } from './engine.js'

const log = pino({ level: 'silent' })
const MAX_INSERT_BYTES = 1024 * 1024

/** Rows that would end a statement, or be one, if they stood in its text. */
const HOSTILE = [
  '\n\nDROP TABLE q.keep',
  '\n\n; DROP TABLE q.keep;\n\n',
  "'); DROP TABLE q.keep; --",
  '\0\n\n\0',
  '1\t2\n\nINSERT INTO q.keep SELECT 2',
  '`"\'\\$$;/*--#',
]

describe('embedded engine', () => {
  let directory: string
  let engine: EmbeddedEngine
  let clickhouse: ClickHouse
  before(async function () {
    this.timeout(60_000)
    directory = await mkdtemp(join(tmpdir(), 'cleartap-engine-'))
    engine = await EmbeddedEngine.start({
      dataDir: join(directory, 'db'),
      maxInsertBytes: MAX_INSERT_BYTES,
      log,
    })
    clickhouse = new ClickHouse(engine)
    await clickhouse.command('CREATE DATABASE q')
    await clickhouse.command('CREATE TABLE q.keep (a UInt8) ENGINE = MergeTree ORDER BY a')
    await clickhouse.command('INSERT INTO q.keep SELECT 1')
    await clickhouse.command('CREATE TABLE q.t (s String) ENGINE = MergeTree ORDER BY s')
  })
  after(async function () {
    this.timeout(60_000)
    await clickhouse.close()
    await engine.close(1000)
    await rm(directory, { recursive: true, force: true })
  })

  const value = async (sql: string) => (await clickhouse.query(sql)).rows[0]?.[0]
  const post = (query: string, body: string | Buffer = '', headers: Record<string, string> = {}) => {
    const { url, username, password } = engine.address() ?? assert.fail('the engine is down')
    const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
    return fetch(`${url}/?${query}`, { method: 'POST', body, headers: { authorization, ...headers } })
  }

  it('runs nothing that stands in rows, whatever their format', async function () {
    this.timeout(30_000)
    const before = await value("SELECT groupArray(name) FROM system.tables WHERE database = 'q'")
    const binary = Buffer.concat(
      HOSTILE.map((text) => Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)])),
    )
    await clickhouse.insert('INSERT INTO q.t (s) FORMAT RowBinary', binary, {})
    const json = Buffer.from(HOSTILE.map((s) => JSON.stringify({ s })).join('\n'))
    await clickhouse.insert('INSERT INTO q.t (s) FORMAT JSONEachRow', json, {})
    for (const format of ['TSV', 'JSONEachRow', 'RowBinary', 'Values', 'CSV', 'Native']) {
      for (const rows of HOSTILE) {
        await clickhouse
          .insert(`INSERT INTO q.t (s) FORMAT ${format}`, Buffer.from(rows), {})
          .catch((error) => {
            assert.ok(error instanceof StatementError)
          })
      }
    }
    assert.deepEqual(await value("SELECT groupArray(name) FROM system.tables WHERE database = 'q'"), before)
    assert.equal(await value('SELECT sum(a) FROM q.keep'), '1')
    const stored = (await clickhouse.query('SELECT s, count() FROM q.t GROUP BY s')).rows
    for (const text of HOSTILE) {
      assert.ok(Number(stored.find(([s]) => s === text)?.[1]) >= 2, JSON.stringify(text))
    }
  })

  it('takes parameters with any character', async () => {
    for (const text of [...HOSTILE, '', '\\', "'", '\t\r\b', '[1]', 'ü🙂', '\\N']) {
      const { rows } = await clickhouse.query('SELECT {p:String}', { parameters: { p: text } })
      assert.equal(rows[0]?.[0], text, JSON.stringify(text))
    }
  })

  it('answers errors as a server does', async () => {
    const expected: [string, number, number][] = [
      ['SELECT nope', 400, 47],
      ['SELEC 1', 400, 62],
      ['SELECT 1; DROP TABLE q.keep', 400, 62],
      ['SELECT * FROM q.nope', 404, 60],
      ['INSERT INTO q.keep VALUES (2)', 403, 497],
      ["SELECT * FROM file('/etc/passwd', 'LineAsString')", 500, 164],
      ['SELECT throwIf(1)', 500, 395],
    ]
    for (const [sql, status, code] of expected) {
      const response = await post(`query=${encodeURIComponent(sql)}`)
      const text = await response.text()
      const got = [response.status, Number(response.headers.get('x-clickhouse-exception-code'))]
      assert.deepEqual(got, [status, code], `${sql}: ${text}`)
      assert.match(text, new RegExp(`^Code: ${code}\\. DB::Exception: `))
    }
    assert.equal((await post('session_id=x&query=SELECT+1')).status, 400)
    assert.equal((await post('query=SELECT+1&a%3D1%2Creadonly=0')).status, 400)
  })

  it('asks for its secret', async () => {
    const { url } = engine.address() ?? assert.fail('the engine is down')
    assert.equal(await (await fetch(`${url}/ping`)).text(), 'Ok.\n')
    for (const authorization of ['', 'Basic eDp5', `Basic ${Buffer.from('cleartap:').toString('base64')}`]) {
      const response = await fetch(`${url}/?query=SELECT+1`, { method: 'POST', headers: { authorization } })
      assert.equal(response.status, 401)
      assert.equal(response.headers.get('x-clickhouse-exception-code'), '516')
    }
    const { password } = engine.address() ?? assert.fail('the engine is down')
    const argv = await readFile(`/proc/${engine.pid}/cmdline`, 'utf8')
    const environment = await readFile(`/proc/${engine.pid}/environ`, 'utf8')
    assert.ok(!argv.includes(password) && !environment.includes(password))
  })

  it('lets readers read only', async () => {
    for (const sql of ['INSERT INTO q.keep SELECT 3', 'DROP TABLE q.keep', 'SET readonly = 0']) {
      await assert.rejects(clickhouse.query(sql), StatementError)
    }
    assert.equal(await value('SELECT sum(a) FROM q.keep'), '1')
  })

  it('takes gzip bodies, and none above the limit', async () => {
    const insert = 'query=INSERT+INTO+q.t+(s)+FORMAT+TSV'
    const small = await post(insert, gzipSync('from gzip'), { 'content-encoding': 'gzip' })
    assert.equal(small.status, 200)
    assert.equal(await value("SELECT count() FROM q.t WHERE s = 'from gzip'"), '1')
    const bomb = gzipSync(Buffer.alloc(8 * MAX_INSERT_BYTES, 'a'))
    const large = await post(insert, bomb, { 'content-encoding': 'gzip' })
    assert.equal(large.status, 413)
    assert.equal(await value('SELECT count() FROM q.t WHERE length(s) > 1000'), '0')
  })

  it('stops a statement whose asker is gone', async function () {
    this.timeout(20_000)
    const abort = new AbortController()
    const slow = 'SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))'
    const asked = clickhouse.query(slow, { signal: abort.signal, settings: { max_execution_time: 60 } })
    const running = async () =>
      Number(
        await value(
          "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number)%' AND query NOT LIKE '%processes%'",
        ),
      )
    while ((await running()) === 0) await sleep(20)
    abort.abort()
    await assert.rejects(asked)
    const startedAt = Date.now()
    while ((await running()) > 0) {
      assert.ok(Date.now() - startedAt < 5000, 'still runs')
      await sleep(50)
    }
  })

  it('leaves no spool file', async () => {
    const spools = (await readdir('/dev/shm')).filter((name) =>
      name.startsWith(spoolPrefix(join(directory, 'db'))),
    )
    assert.equal(spools.length, 1)
    for (const name of spools) assert.deepEqual(await readdir(join('/dev/shm', name)), [])
  })

  it('holds its directory alone, and lets go of it', async function () {
    this.timeout(60_000)
    const dataDir = join(directory, 'other')
    const first = await EmbeddedEngine.start({ dataDir, maxInsertBytes: MAX_INSERT_BYTES, log })
    const second = EmbeddedEngine.start({ dataDir, maxInsertBytes: MAX_INSERT_BYTES, log })
    await sleep(1500)
    const { pid } = first
    await first.close(0)
    assert.ok(!existsSync(`/proc/${pid}`))
    await (await second).close(0)
  })
})
