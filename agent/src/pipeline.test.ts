import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createLogger } from '../../common/log.js'
import type { HttpRequest } from '../../gen/cleartap/event/v1/event.js'
import { EventMaker } from './exchange/to-event.js'
import { HttpCapture } from './plugins/index.js'
import { ParserRun } from './protocols/http1/fixtures.js'
import { MemorySink } from './sinks/index.js'
import type { ObjectStore } from './stores/index.js'
import { MemoryStore } from './stores/index.js'
import { UploadQueue } from './stores/upload-queue.js'

const log = createLogger('test', { level: 'error', format: 'text', destination: { write: () => {} } })

/** Two exchanges: a POST with both bodies, and a DELETE answered by 204. */
function exchanges(maxBodyBytes = 100) {
  const run = new ParserRun(maxBodyBytes)
  const time = 1_790_000_000_000_000_000n
  run.push(
    'request',
    Buffer.from('POST /p HTTP/1.1\r\nHost: h\r\nX-A: caf\u00e9\r\nContent-Length: 3\r\n\r\nabc', 'latin1'),
    time,
  )
  run.push(
    'response',
    Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: text/plain; a=b\r\nContent-Length: 0\r\n\r\n'),
  )
  run.push('request', Buffer.from('DELETE /d HTTP/1.1\r\n\r\n'), time)
  run.push('response', Buffer.from('HTTP/1.1 204 No Content\r\n\r\n'))
  return run.exchanges
}

async function capture(level: 'metadata' | 'headers' | 'full', store: ObjectStore, maxBodyBytes = 100) {
  const sink = new MemorySink(100)
  const plugin = new HttpCapture({ level, org: 'acme', store, sink, maker: new EventMaker(), log })
  for (const exchange of exchanges(maxBodyBytes)) plugin.onExchange(exchange)
  await plugin.drain()
  const requests = sink.records.map(({ event }): HttpRequest => {
    assert.ok(event.kind?.$case === 'httpRequest')
    return event.kind.value
  })
  return { plugin, requests }
}

describe('HttpCapture', () => {
  it('stores nothing at level metadata', async () => {
    const store = new MemoryStore('s', 1 << 20)
    const { requests } = await capture('metadata', store)
    assert.equal(store.objects.size, 0)
    assert.deepEqual(
      requests.map(({ artifacts }) => artifacts),
      [[], []],
    )
  })

  it('stores both heads in one JSON object at level headers', async () => {
    const store = new MemoryStore('s', 1 << 20)
    const { requests } = await capture('headers', store)
    assert.deepEqual(
      requests.map(({ artifacts }) => artifacts.map(({ kind }) => kind)),
      [[1], [1]],
    )
    const key = requests[0]?.artifacts[0]?.key ?? ''
    assert.match(key, /^v1\/acme\/2026\/09\/21\/[0-9a-f]{64}$/)
    const object = store.objects.get(key)
    assert.equal(object?.contentType, 'application/json')
    assert.deepEqual(JSON.parse(String(object?.bytes)), {
      request: {
        line: 'POST /p HTTP/1.1',
        headers: [
          ['Host', 'h'],
          ['X-A', 'caf\u00e9'],
          ['Content-Length', '3'],
        ],
      },
      response: {
        line: 'HTTP/1.1 200 OK',
        headers: [
          ['Content-Type', 'text/plain; a=b'],
          ['Content-Length', '0'],
        ],
      },
    })
  })

  it('stores bodies at level full: an empty one too where there could be one', async () => {
    const store = new MemoryStore('s', 1 << 20)
    const { requests, plugin } = await capture('full', store)
    assert.deepEqual(
      requests.map(({ artifacts }) =>
        artifacts.map(({ kind, size, truncated, contentType }) => [kind, size > 3n, truncated, contentType]),
      ),
      [
        [
          [1, true, false, 'application/json'],
          [2, false, false, 'application/octet-stream'],
          [3, false, false, 'text/plain'],
        ],
        [[1, true, false, 'application/json']],
      ],
    )
    for (const { key, sha256, store: name } of requests.flatMap(({ artifacts }) => artifacts)) {
      assert.equal(name, 's')
      const bytes = store.objects.get(key)?.bytes
      assert.ok(bytes)
      assert.deepEqual(createHash('sha256').update(bytes).digest(), sha256)
    }
    assert.deepEqual(plugin.stats(), {
      exchanges: 2,
      artifactsStored: 4,
      artifactsUnderway: 0,
      artifactsFailed: 0,
      waiting: 0,
    })
  })

  it('says that a body was cut', async () => {
    const store = new MemoryStore('s', 1 << 20)
    const { requests } = await capture('full', store, 2)
    const body = requests[0]?.artifacts[1]
    assert.deepEqual([body?.size, body?.truncated], [2n, true])
    assert.equal(requests[0]?.requestBodyBytes, 3n)
  })

  it('names only what is stored, and counts the rest', async () => {
    const { requests, plugin } = await capture('full', new MemoryStore('s', 3))
    assert.deepEqual(
      requests.map(({ artifacts }) => artifacts.map(({ kind }) => kind)),
      [[2, 3], []],
    )
    assert.equal(plugin.stats().artifactsFailed, 2)
  })

  it('names what a slow store has not stored in time, and goes on', async () => {
    const writer = { write: () => new Promise<never>(() => {}), close: () => {} }
    const limits = { maxConcurrent: 1, maxQueueBytes: 1 << 20, maxQueueAgeMs: 10 }
    const store = new UploadQueue(writer, { name: 's', ...limits })
    const { requests, plugin } = await capture('full', store)
    assert.deepEqual(
      requests.map(({ artifacts }) => artifacts.map(({ kind }) => kind)),
      [[1, 2, 3], [1]],
    )
    const { artifactsStored, artifactsUnderway, artifactsFailed } = plugin.stats()
    assert.deepEqual([artifactsStored, artifactsUnderway, artifactsFailed], [0, 4, 0])
    await store.close(0)
    assert.equal(store.stats().failedNamed, 4)
  })
})
