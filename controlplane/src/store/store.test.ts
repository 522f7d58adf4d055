import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sql } from 'kysely'
import { uuidv7 } from 'uuidv7'
import { withDirectory } from '../control-plane.fixture.js'
import { AgentStore } from './agents.js'
import { openSqlite } from './sqlite.js'
import { type ControlStore, openControlStore } from './store.js'

async function withStore(use: (store: ControlStore, directory: string) => Promise<void>, now?: () => number) {
  await withDirectory(async (directory) => {
    const store = await openControlStore(directory, now)
    try {
      await use(store, directory)
    } finally {
      await store.close()
    }
  })
}

function hello(id = uuidv7()) {
  const none = { version: 0, sha256: '' }
  const platform = { host: 'box', version: '0.1.0', kernel: '6.18', architecture: 'x64', bootId: 'b' }
  return { id, ...platform, labels: { a: '1' }, running: none, lastGood: none, lastAttempt: undefined }
}

const note = { author: 'test', note: '' }

describe('the SQLite adapter', () => {
  it('gives the rows of a query without parameters', async () => {
    await withDirectory(async (directory) => {
      const db = await openSqlite(join(directory, 'a.db'))
      const { rows } = await sql<{ n: number }>`SELECT 7 AS n`.execute(db)
      assert.deepEqual(
        rows.map(({ n }) => n),
        [7],
      )
      await db.destroy()
    })
  })

  it('refuses parameters that node:sqlite would misread', async () => {
    await withDirectory(async (directory) => {
      const db = await openSqlite(join(directory, 'a.db'))
      for (const value of [new Date(0), { a: 1 }, undefined, true, Number.NaN, ['x']]) {
        await assert.rejects(
          sql`SELECT ${value} AS v, ${'second'} AS w`.execute(db),
          /a SQL parameter is a string/,
        )
      }
      const { rows } = await sql`SELECT ${null} AS v, ${'second'} AS w`.execute(db)
      assert.deepEqual({ ...Object(rows[0]) }, { v: null, w: 'second' })
      await db.destroy()
    })
  })

  it('commits durably, with foreign keys, for one process', async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, 'a.db')
      const db = await openSqlite(path)
      const pragma = async (name: string) =>
        Object.values(Object((await sql`PRAGMA ${sql.raw(name)}`.execute(db)).rows[0]))[0]
      assert.equal(await pragma('journal_mode'), 'wal')
      assert.equal(await pragma('synchronous'), 2)
      assert.equal(await pragma('foreign_keys'), 1)
      await assert.rejects(openSqlite(path), /a\.db is in use by another process/)
      await db.destroy()
      await (await openSqlite(path)).destroy()
    })
  })

  it('refuses a database of a newer release, and one whose migration differs', async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, 'a.db')
      await (await openSqlite(path)).destroy()
      const change = (statement: string) => {
        const raw = new DatabaseSync(path)
        raw.exec(statement)
        raw.close()
      }
      change("INSERT INTO migrations VALUES (99, 'later', 'x')")
      await assert.rejects(openSqlite(path), /schema 99; this release knows up to 1/)
      change("DELETE FROM migrations WHERE number = 99; UPDATE migrations SET sha256 = 'x'")
      await assert.rejects(openSqlite(path), /migration 1 .* ran with other content/)
    })
  })
})

describe('the revision store', () => {
  it('keeps what was added, also over a restart', async () => {
    await withDirectory(async (directory) => {
      const first = await openControlStore(directory, () => 1234)
      await first.revisions.add({ content: 'ä: 1', author: 'ada', note: "it's" })
      await first.close()
      const second = await openControlStore(directory)
      assert.deepEqual(await second.revisions.latest(), {
        resource: 'agent',
        version: 1,
        content: 'ä: 1',
        sha256: '23d4dab41d537fbe15f31776ef68e2f9135463e173f393835b5d77d4bdbf07aa',
        author: 'ada',
        note: "it's",
        createdAtMs: 1234,
      })
      await second.close()
    })
  })

  it('numbers concurrent additions without a hole or a double', async () => {
    await withStore(async ({ revisions }) => {
      const contents = Array.from({ length: 30 }, (_, i) => `a: ${i}`)
      await Promise.all(contents.map((content) => revisions.add({ content, ...note })))
      const all = await revisions.list(100)
      assert.deepEqual(
        all.map(({ version }) => version),
        Array.from({ length: 30 }, (_, i) => 30 - i),
      )
      assert.deepEqual(all.map(({ content }) => content).sort(), contents.sort())
    })
  })

  it('forgets an idempotency key after a day', async () => {
    let nowMs = 1_000_000
    await withStore(
      async ({ revisions }) => {
        const add = (content: string) => revisions.add({ content, ...note, idempotencyKey: 'k' })
        assert.equal((await add('a')).kind, 'added')
        assert.equal((await add('a')).kind, 'repeated')
        assert.equal((await add('b')).kind, 'key_reused')
        nowMs += 25 * 60 * 60 * 1000
        assert.equal((await add('b')).kind, 'added')
      },
      () => nowMs,
    )
  })
})

describe('the agent store', () => {
  it('shows everybody as gone after a restart', async () => {
    await withDirectory(async (directory) => {
      const first = await openControlStore(directory)
      const agent = await first.agents.connect(hello(), 's1')
      assert.equal(agent.connected, true)
      assert.deepEqual(agent.labels, { a: '1' })
      await first.close()
      const second = await openControlStore(directory)
      assert.equal((await second.agents.get(agent.id))?.connected, false)
      await second.close()
    })
  })

  it('lets only the latest session end an agent’s connection', async () => {
    await withStore(async ({ agents }) => {
      const { id } = await agents.connect(hello(), 's1')
      await agents.connect(hello(id), 's2')
      await agents.disconnect(id, 's1')
      assert.equal((await agents.get(id))?.connected, true)
      await agents.disconnect(id, 's2')
      assert.equal((await agents.get(id))?.connected, false)
    })
  })

  it('keeps a bounded history of each agent', async () => {
    await withStore(async ({ agents, attempts }) => {
      const { id } = await agents.connect(hello(), 's1')
      const attempt = { agentId: id, resource: 'agent', nonce: '', outcome: 'stale', errors: [] } as const
      for (let version = 1; version <= 205; version += 1) await attempts.record({ ...attempt, version })
      const kept = await attempts.list(id, 1000)
      assert.equal(kept.length, 200)
      assert.equal(kept[0]?.version, 205)
      assert.equal(kept.at(-1)?.version, 6)
    })
  })

  it('forgets the agents that have been gone longest, never a connected one', async () => {
    await withDirectory(async (directory) => {
      const db = await openSqlite(join(directory, 'a.db'))
      let nowMs = 0
      const agents = new AgentStore(db, () => nowMs, 2)
      const ids: string[] = []
      for (nowMs = 1; nowMs <= 5; nowMs += 1) {
        const { id } = await agents.connect(hello(), `s${nowMs}`)
        if (nowMs > 1) await agents.disconnect(id, `s${nowMs}`)
        ids.push(id)
      }
      await agents.connect(hello(), 's9')
      const kept = (await agents.list(100)).map(({ id }) => id)
      assert.equal(kept.length, 4)
      assert.deepEqual(
        ids.map((id) => kept.includes(id)),
        [true, false, false, true, true],
      )
      await db.destroy()
    })
  })
})
