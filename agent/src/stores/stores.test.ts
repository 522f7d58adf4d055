import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { storeSchema } from '../../../common/config/schema.js'
import { createStore, MemoryStore, type StoredObject } from './index.js'

function objectOf(text: string): { object: StoredObject; chunks: Uint8Array[] } {
  const bytes = Buffer.from(text)
  const sha256 = createHash('sha256').update(bytes).digest()
  const middle = Math.floor(bytes.length / 2)
  return {
    object: { key: `v1/org/2026/01/02/${sha256.toString('hex')}`, sha256, size: bytes.length },
    chunks: bytes.length === 0 ? [] : [bytes.subarray(0, middle), bytes.subarray(middle)],
  }
}

const dependencies = { secretOf: () => 'secret', output: new PassThrough() }

describe('directory store', () => {
  let directory: string
  const open = () =>
    createStore(storeSchema.parse({ type: 'directory', path: join(directory, 'objects') }), dependencies)

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cleartap-store-'))
  })
  afterEach(() => {
    rmSync(directory, { recursive: true })
  })

  it('keeps objects under their keys, each content once, and no temporary file', async () => {
    const configured = open()
    assert.ok(configured.type === 'directory')
    const { store } = configured
    const texts = ['one', 'two', '', 'one', 'one']
    await Promise.all(
      texts.map((text) => {
        const { object, chunks } = objectOf(text)
        return store.put(object, 'text/plain', chunks)
      }),
    )
    const again = objectOf('two')
    await store.put(again.object, 'text/plain', again.chunks)
    await store.close(5000)
    for (const text of texts) {
      assert.equal(readFileSync(join(directory, 'objects', objectOf(text).object.key), 'utf8'), text)
    }
    assert.equal(readdirSync(join(directory, 'objects/v1/org/2026/01/02')).length, 3)
    const { storedObjects, deduplicated, queuedBytes } = store.stats()
    assert.deepEqual([storedObjects, deduplicated, queuedBytes], [3, 3, 0])
  })

  it('refuses keys that lead elsewhere', async () => {
    const { store } = open()
    const { object, chunks } = objectOf('x')
    for (const key of ['../x', '/x', 'a/../../x', 'a//x', 'a/.', '']) {
      await assert.rejects(store.put({ ...object, key }, 'text/plain', chunks), /not a key/)
    }
    await store.close(5000)
  })

  it('rejects and counts what cannot be written when it closes', async () => {
    writeFileSync(join(directory, 'objects'), 'a file in the way')
    const configured = open()
    assert.ok(configured.type === 'directory')
    const { object, chunks } = objectOf('x')
    const put = assert.rejects(configured.store.put(object, 'text/plain', chunks), /cannot write/)
    await configured.store.close(5000)
    await put
    assert.equal(configured.store.stats().failed, 1)
    await assert.rejects(configured.store.put(object, 'text/plain', chunks), /not taken: closed/)
  })
})

describe('S3 store', () => {
  let server: Server
  let requests: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[]
  let statuses: number[]
  let endpoint: string

  const open = (settings: Record<string, unknown> = {}) => {
    const configured = createStore(
      storeSchema.parse({
        type: 's3',
        endpoint,
        bucket: 'bucket',
        access_key_id: { env: 'A' },
        secret_access_key: { env: 'B' },
        ...settings,
      }),
      dependencies,
    )
    assert.ok(configured.type === 's3')
    return configured.store
  }

  beforeEach(async () => {
    requests = []
    statuses = []
    server = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      const { method = '', url = '', headers } = request
      requests.push({ method, url, headers, body: Buffer.concat(chunks).toString() })
      response.statusCode = statuses.shift() ?? 200
      response.end()
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterEach(() => {
    server.closeAllConnections()
    server.close()
  })

  it('puts plain bytes once, with their type', async () => {
    const store = open()
    const { object, chunks } = objectOf('hello')
    await Promise.all([1, 2, 3].map(() => store.put(object, 'text/html', chunks)))
    await store.put(object, 'text/html', chunks)
    await store.close(5000)
    assert.equal(requests.length, 1)
    assert.equal(requests[0]?.url.split('?')[0], `/bucket/${object.key}`)
    assert.equal(requests[0]?.body, 'hello')
    assert.equal(requests[0]?.headers['content-type'], 'text/html')
    assert.ok(!('content-encoding' in (requests[0]?.headers ?? {})))
    assert.equal(store.stats().deduplicated, 3)
  })

  it('tries again after what may pass, not after a refusal', async () => {
    statuses = [503, 500, 200, 403]
    const store = open({ max_concurrent_uploads: 1 })
    const first = objectOf('first')
    await store.put(first.object, 'text/plain', first.chunks)
    assert.equal(store.stats().retries, 2)
    const second = objectOf('second')
    await assert.rejects(store.put(second.object, 'text/plain', second.chunks), /403/)
    assert.equal(requests.length, 4)
    await store.put(second.object, 'text/plain', second.chunks)
    await store.close(5000)
    assert.deepEqual([store.stats().storedObjects, store.stats().failed], [2, 1])
  })

  it('refuses at once what does not fit its queue, and counts it', async () => {
    const store = open({ max_queue_bytes: 1 << 20, max_concurrent_uploads: 1 })
    const results = await Promise.allSettled(
      ['a', 'b', 'c'].map((letter) => {
        const { object, chunks } = objectOf(letter.repeat(500_000))
        return store.put(object, 'text/plain', chunks)
      }),
    )
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'rejected'],
    )
    await store.close(5000)
    const { storedObjects, dropped, queuedBytes } = store.stats()
    assert.deepEqual([storedObjects, dropped.queue_full, queuedBytes], [2, 1, 0])
  })

  it('wants both halves of the credentials', () => {
    assert.throws(() => open({ secret_access_key: undefined }), /give both or none/)
  })
})

describe('stdout and memory stores', () => {
  it('write text as text and bytes as base64', async () => {
    const output = new PassThrough()
    const { store } = createStore(storeSchema.parse({ type: 'stdout' }), { ...dependencies, output })
    const { object } = objectOf('x')
    await store.put(object, 'text/plain', [Buffer.from('gr\u00fc\u00df')])
    await store.put(object, 'image/png', [Buffer.from([0xff, 0])])
    const lines = String(output.read())
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line))
    const { key, size } = object
    assert.deepEqual(lines, [
      { key, contentType: 'text/plain', size, text: 'gr\u00fc\u00df' },
      { key, contentType: 'image/png', size, base64: '/wA=' },
    ])
  })

  it('keep no more than they may', async () => {
    const store = new MemoryStore('m', 5)
    const [first, second] = [objectOf('abc'), objectOf('def')]
    await store.put(first.object, 'text/plain', first.chunks)
    await store.put(first.object, 'text/plain', first.chunks)
    await assert.rejects(store.put(second.object, 'text/plain', second.chunks), /5 bytes are in use/)
    assert.deepEqual([store.objects.size, store.bytes, store.dropped], [1, 3, 1])
  })
})
