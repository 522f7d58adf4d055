import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { createChannel, createClient } from 'nice-grpc'
import { pino } from 'pino'
import type { EventBatch, IngestServiceClient } from '../../gen/cleartap/pulse/v1/ingest.js'
import { IngestServiceDefinition } from '../../gen/cleartap/pulse/v1/ingest.js'
import { ClickHouse } from './clickhouse/client.js'
import { EmbeddedEngine, spoolPrefix } from './clickhouse/embedded/engine.js'
import { type Fault, FaultProxy } from './clickhouse/fault-proxy.fixture.js'
import {
  batchOf,
  countRows,
  helloOf,
  newStreamKey,
  openAgentStream,
  type PulseFixture,
  sampleConnection,
  sampleRequest,
  startPulseFixture,
} from './pulse.fixture.js'

const MAIN = new URL('./main.js', import.meta.url).pathname
const TABLES = ['requests', 'connections', 'ingest_batches'] as const

/** A batch with 3 requests and 2 parts of connections. */
function mixedBatch(sequence: bigint): EventBatch {
  const requests = [1, 2, 3].map((i) => sampleRequest(Number(sequence) * 10 + i))
  return batchOf(sequence, [...requests, sampleConnection(1), sampleConnection(2)])
}

describe('write once, engine killed', () => {
  it('stores everything exactly once while the engine dies again and again', async function () {
    this.timeout(60_000)
    const fixture = await startPulseFixture({ max_block_age_ms: 5 })
    try {
      const key = newStreamKey()
      const agent = openAgentStream(fixture.ingest, helloOf(key))
      await agent.next()
      const count = 100n
      for (let sequence = 1n; sequence <= count; sequence += 1n) {
        agent.batch(mixedBatch(sequence))
        if (sequence % 20n !== 0n) continue
        await killAfter(fixture.pulse.store.engine?.pid, Number(sequence) / 4)
        await agent.ackedThrough(sequence)
      }
      // The last batches may have been acknowledged before the last kill hit.
      assert.equal(await restartsReach(fixture, 5), true)
      await agent.leave()
      assert.equal(await countRows(fixture, 'requests', key), Number(count) * 3)
      assert.equal(await countRows(fixture, 'connections', key), Number(count) * 2)
      await fixture.restart()
      assert.equal(await countRows(fixture, 'requests', key), Number(count) * 3)
      assert.deepEqual(await fixture.ingest.getStreamPosition({ key }), { committedThrough: count })
    } finally {
      await fixture.remove()
    }
  })
})

/** False if the engine was not restarted so often within 20 s. */
async function restartsReach(fixture: PulseFixture, count: number): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < 20_000; waitedMs += 50) {
    if ((fixture.pulse.store.engine?.restarts ?? 0) >= count) return true
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return false
}

async function killAfter(pid: number | undefined, ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
  if (pid === undefined) throw new Error('the engine does not run')
  process.kill(pid, 'SIGKILL')
}

describe('write once, at every point between insert and record', () => {
  const log = pino({ level: 'silent' })
  let directory: string
  let engine: EmbeddedEngine
  let proxy: FaultProxy
  let clickhouse: ClickHouse
  before(async function () {
    this.timeout(60_000)
    directory = await mkdtemp(join(tmpdir(), 'cleartap-once-'))
    engine = await EmbeddedEngine.start({ dataDir: join(directory, 'db'), maxInsertBytes: 1 << 24, log })
    proxy = new FaultProxy(engine)
    const { url } = await proxy.listen()
    await writeFile(
      join(directory, 'pulse.yaml'),
      [
        `data_dir: ${join(directory, 'pulse')}`,
        'listen: 127.0.0.1:0',
        'admin: {listen: "127.0.0.1:0"}',
        `clickhouse: {url: "${url}", database: once}`,
        'ingest: {max_block_age_ms: 5, max_block_rows: 5}',
        'log: {level: error}',
      ].join('\n'),
    )
    clickhouse = new ClickHouse(engine)
  })
  after(async function () {
    this.timeout(60_000)
    await clickhouse.close()
    await proxy.close()
    await engine.close(1000)
    await rm(directory, { recursive: true, force: true })
  })

  const count = async (table: string, streamId: Uint8Array) => {
    const { rows } = await clickhouse.query(
      `SELECT count() FROM once.${table} WHERE stream_id = unhex({id:String})`,
      { parameters: { id: Buffer.from(streamId).toString('hex') } },
    )
    return Number(rows[0]?.[0])
  }
  const start = () => startPulseProcess(join(directory, 'pulse.yaml'))

  for (const table of TABLES) {
    for (const kind of ['dropBefore', 'dropAfter'] as const) {
      it(`Pulse killed, ${table}, ${kind}`, async function () {
        this.timeout(30_000)
        const key = newStreamKey()
        const first = await start()
        let second: PulseProcess | undefined
        try {
          await first.client.pushBatch({ key, batch: mixedBatch(1n), hello: helloOf(key) })
          const batch = mixedBatch(2n)
          proxy.next(`.${table} (`, { kind, act: () => first.kill() })
          await assert.rejects(first.client.pushBatch({ key, batch, hello: helloOf(key) }))
          assert.equal(proxy.pending, 0)
          second = await start()
          const { committedThrough } = await second.client.getStreamPosition({ key })
          assert.ok(committedThrough === 1n || committedThrough === 2n)
          const { ack } = await second.client.pushBatch({ key, batch, hello: helloOf(key) })
          assert.equal(ack?.committedThrough, 2n)
          await second.client.pushBatch({ key, batch: mixedBatch(3n), hello: helloOf(key) })
        } finally {
          await first.kill()
          await second?.kill()
        }
        assert.equal(await count('requests', key.streamId), 9)
        assert.equal(await count('connections', key.streamId), 6)
      })
    }
  }

  it('Pulse killed with rows of two blocks in and neither recorded', async function () {
    this.timeout(30_000)
    const key = newStreamKey()
    const batches = [1n, 2n, 3n, 4n, 5n, 6n].map(mixedBatch)
    const first = await start()
    let second: PulseProcess | undefined
    try {
      const agent = openAgentStream(first.client, helloOf(key))
      await agent.next()
      proxy.next('.ingest_batches (', {
        kind: 'dropBefore',
        act: async () => {
          while ((await count('requests', key.streamId)) < 6) await sleep(10)
          await first.kill()
        },
      })
      for (const batch of batches) agent.batch(batch)
      await assert.rejects(() => agent.ackedThrough(6n))
      assert.equal(await count('ingest_batches', key.streamId), 0)
      assert.ok((await count('requests', key.streamId)) >= 6)
      second = await start()
      const again = openAgentStream(second.client, helloOf(key))
      for (const batch of batches) again.batch(batch)
      await again.ackedThrough(6n)
      await again.leave()
    } finally {
      await first.kill()
      await second?.kill()
    }
    assert.equal(await count('requests', key.streamId), 18)
    assert.equal(await count('connections', key.streamId), 12)
  })

  it('an answer lost or refused at every table, Pulse living on', async function () {
    this.timeout(30_000)
    const key = newStreamKey()
    const pulse = await start()
    try {
      let sequence = 0n
      for (const table of TABLES) {
        const faults: Fault[] = [
          { kind: 'dropBefore', act: () => undefined },
          { kind: 'dropAfter', act: () => undefined },
          { kind: 'error', code: 252 },
          { kind: 'error', code: 60 },
        ]
        for (const fault of faults) {
          sequence += 1n
          proxy.next(`.${table} (`, fault)
          const { ack } = await pulse.client.pushBatch({
            key,
            batch: mixedBatch(sequence),
            hello: helloOf(key),
          })
          assert.equal(ack?.committedThrough, sequence)
        }
      }
      assert.equal(proxy.pending, 0)
      assert.equal(await count('requests', key.streamId), 36)
      assert.equal(await count('connections', key.streamId), 24)
    } finally {
      await pulse.kill()
    }
  })
})

describe('write once, Pulse killed with its own engine', () => {
  it('comes up again with everything that it acknowledged', async function () {
    this.timeout(60_000)
    const directory = await mkdtemp(join(tmpdir(), 'cleartap-killed-'))
    const config = join(directory, 'pulse.yaml')
    const lines = [
      `data_dir: ${join(directory, 'pulse')}`,
      'listen: 127.0.0.1:0',
      'admin: {listen: "127.0.0.1:0"}',
    ]
    await writeFile(config, [...lines, 'log: {level: error}'].join('\n'))
    const key = newStreamKey()
    let pulse: PulseProcess | undefined
    try {
      for (let start = 0n; start < 3n; start += 1n) {
        pulse = await startPulseProcess(config)
        const agent = openAgentStream(pulse.client, helloOf(key))
        const welcome = await agent.next()
        assert.equal(welcome.$case === 'welcome' && welcome.value.committedThrough, start * 10n)
        for (let sequence = start * 10n + 1n; sequence <= start * 10n + 10n; sequence += 1n) {
          agent.batch(mixedBatch(sequence))
        }
        await agent.ackedThrough(start * 10n + 10n)
        await pulse.kill()
        await assert.rejects(() => agent.next())
      }
    } finally {
      await pulse?.kill()
      await rm(directory, { recursive: true, force: true, maxRetries: 10 })
    }
    const prefix = spoolPrefix(join(directory, 'pulse', 'clickhouse'))
    while ((await readdir('/dev/shm')).some((name) => name.startsWith(prefix))) await sleep(20)
  })
})

interface PulseProcess {
  readonly client: IngestServiceClient
  /** Kills it and waits for its end. */
  kill(): Promise<void>
}

async function startPulseProcess(config: string): Promise<PulseProcess> {
  const child = spawn(process.execPath, [MAIN, '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] })
  const line = await firstLine(child)
  const { listen } = JSON.parse(line) as { listen: string }
  const channel = createChannel(listen)
  return {
    client: createClient(IngestServiceDefinition, channel),
    async kill() {
      channel.close()
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('no output')
  for await (const line of createInterface({ input: child.stdout })) return line
  throw new Error('Pulse ended without a line')
}
