import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { storeSchema } from '../../../common/config/schema.js'
import type { ObjectRole } from './backlog.js'
import { createStore, type StoredObject } from './index.js'
import { UploadQueue, type WriteOutcome } from './upload-queue.js'

const chunks = [Buffer.from('x')]

function freshObject(): StoredObject {
  const sha256 = createHash('sha256').update(randomBytes(16)).digest()
  return { key: `v1/org/2026/01/02/${sha256.toString('hex')}`, sha256, size: 1 }
}

/** A queue that writes one object at a time, each until it is let go; time is what the test says. */
function gatedQueue(maxQueueAgeMs: number) {
  const writes: PromiseWithResolvers<WriteOutcome>[] = []
  const clock = { nowMs: 0 }
  const writer = {
    write: () => {
      const write = Promise.withResolvers<WriteOutcome>()
      writes.push(write)
      return write.promise
    },
    close: () => {},
  }
  const queue = new UploadQueue(writer, {
    name: 'gated',
    maxConcurrent: 1,
    maxQueueBytes: 1 << 20,
    maxQueueAgeMs,
    nowMs: () => clock.nowMs,
  })
  const put = (role: ObjectRole) => queue.put(freshObject(), 'text/plain', chunks, role)
  const release = async (outcome: WriteOutcome, promise: Promise<unknown>) => {
    writes.shift()?.resolve(outcome)
    await promise
  }
  return { queue, clock, put, release }
}

const stored: WriteOutcome = { kind: 'stored' }
const refused: WriteOutcome = { kind: 'refused', error: new Error('refused for good') }

describe('a store that is behind', () => {
  it('refuses bodies above the limit, headers above twice it, and takes both again by itself', async () => {
    const { queue, clock, put, release } = gatedQueue(1000)
    const written = put('body')
    clock.nowMs = 100
    const waiting = put('body')
    clock.nowMs = 1100
    const last = [put('body'), put('headers')]
    clock.nowMs = 1101
    await assert.rejects(put('body'), /not taken: behind_body/)
    last.push(put('headers'))
    clock.nowMs = 2100
    last.push(put('headers'))
    clock.nowMs = 2101
    await assert.rejects(put('headers'), /not taken: behind_headers/)
    await assert.rejects(put('body'), /not taken: behind_body/)
    assert.equal(queue.stats().oldestWaitingMs, 2001)
    await release(stored, written)
    assert.equal(queue.stats().oldestWaitingMs, 1001)
    last.push(put('headers'))
    await assert.rejects(put('body'), /not taken: behind_body/)
    const objects = [waiting, ...last]
    for (const object of objects) await release(stored, object)
    assert.equal(queue.stats().oldestWaitingMs, 0)
    const again = put('body')
    await release(stored, again)
    assert.equal(await again, 'stored')
    await queue.close(0)
    const { dropped, storedObjects, queuedBytes } = queue.stats()
    assert.deepEqual(dropped, { queue_full: 0, behind_body: 3, behind_headers: 1, closed: 0 })
    assert.deepEqual([storedObjects, queuedBytes], [8, 0])
  })

  it('lets events go at twice the limit, and counts what fails after that', async () => {
    const { queue, put, release } = gatedQueue(10)
    const puts = [put('headers'), put('body')]
    assert.deepEqual(await Promise.all(puts), ['underway', 'underway'])
    await release(refused, Promise.resolve())
    await release(stored, Promise.resolve())
    const late = put('body')
    await release(refused, assert.rejects(late, /refused for good/))
    const { failed, failedNamed, storedObjects } = queue.stats()
    assert.deepEqual([failed, failedNamed, storedObjects], [2, 1, 1])
    await queue.close(0)
  })
})

describe('S3 store whose server never answers', () => {
  let server: Server
  const sockets = new Set<Socket>()

  const open = (maxQueueAgeMs: number) => {
    const address = server.address()
    assert.ok(typeof address === 'object' && address !== null)
    const config = {
      type: 's3',
      endpoint: `http://127.0.0.1:${address.port}`,
      bucket: 'bucket',
      access_key_id: { env: 'A' },
      secret_access_key: { env: 'B' },
      max_queue_age_ms: maxQueueAgeMs,
    }
    const configured = createStore(storeSchema.parse(config), {
      secretOf: () => 'secret',
      output: new PassThrough(),
    })
    assert.ok(configured.type === 's3')
    return configured.store
  }

  beforeEach(async () => {
    server = createServer((socket) => {
      sockets.add(socket)
      socket.resume().on('error', () => {})
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
  })
  afterEach(() => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    server.close()
  })

  it('closes within its grace; every put is settled and counted', async () => {
    const store = open(5000)
    const puts = Array.from({ length: 40 }, () => store.put(freshObject(), 'text/plain', chunks))
    const results = Promise.allSettled(puts)
    const startMs = performance.now()
    await store.close(300)
    const tookMs = performance.now() - startMs
    assert.ok(tookMs > 250 && tookMs < 2000, `took ${tookMs} ms`)
    for (const result of await results) {
      assert.ok(result.status === 'rejected')
      assert.match(String(result.reason), /closed before .* was stored/)
    }
    const { givenUp, failed, failedNamed, queuedObjects, queuedBytes } = store.stats()
    assert.deepEqual([givenUp, failed, failedNamed, queuedObjects, queuedBytes], [40, 0, 0, 0, 0])
  })

  it('is named by events meanwhile; what is given up then is counted as named', async () => {
    const store = open(20)
    const puts = Array.from({ length: 40 }, () => store.put(freshObject(), 'text/plain', chunks))
    assert.deepEqual(new Set(await Promise.all(puts)), new Set(['underway']))
    await store.close(0)
    const { givenUp, failedNamed } = store.stats()
    assert.deepEqual([givenUp, failedNamed], [40, 40])
  })
})
