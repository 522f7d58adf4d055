import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { packageRoot } from '../../../common/version.js'
import { startForTest, withDirectory } from '../control-plane.fixture.js'
import type { ControlPlane } from '../control-plane.js'

const store = {
  bucket: 'bodies',
  endpoint: 'http://10.0.0.9:8333',
  public_endpoint: 'http://127.0.0.1:8333',
  access_key_id: { env: 'TEST_ACCESS_KEY' },
  secret_access_key: { env: 'TEST_SECRET_KEY' },
}

const key = `v1/default/2026/11/23/${'ab'.repeat(32)}`

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Of a JSON answer. */
  readonly json: Record<string, unknown>
}

class Client {
  readonly #origin: string

  constructor(controlPlane: ControlPlane) {
    this.#origin = `http://${controlPlane.httpAddress}`
  }

  async get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return read(await fetch(this.#origin + path, { headers }))
  }

  async post(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const all = { 'content-type': 'application/json', ...headers }
    return read(
      await fetch(this.#origin + path, { method: 'POST', headers: all, body: JSON.stringify(body) }),
    )
  }

  /** fetch() sets Host itself; this sends the one given. */
  statusForHost(host: string): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(`${this.#origin}/api/v1/agents`, { headers: { host }, setHost: false })
      request.once('response', (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      request.once('error', reject)
      request.end()
    })
  }
}

async function read(response: Response): Promise<Answer> {
  const text = await response.text()
  const isJson = /json/.test(response.headers.get('content-type') ?? '')
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : {} }
}

async function withServer(
  use: (client: Client, directory: string, logLines: string[]) => Promise<void>,
  prepare: (directory: string) => Promise<void> = async () => undefined,
): Promise<void> {
  await withDirectory(async (directory) => {
    await prepare(directory)
    const logLines: string[] = []
    const controlPlane = await startForTest(directory, { stores: [store] }, logLines)
    try {
      await use(new Client(controlPlane), directory, logLines)
    } finally {
      await controlPlane.stop()
    }
  })
}

function assertProblem(answer: Answer, status: number, reason: string): void {
  assert.equal(answer.status, status, answer.text)
  assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/)
  assert.equal(answer.json['status'], status)
  assert.equal(answer.json['reason'], reason)
}

const revision = (content: string) => ({ content, note: 'test' })
const headersOnly = 'capture: {level: headers}\n'

describe('the REST server', () => {
  it('serves the OpenAPI document that is committed as docs/openapi.json', async () => {
    await withServer(async (client) => {
      const served = await client.get('/api/v1/openapi.json')
      assert.equal(served.json['openapi'], '3.1.0')
      const committed = JSON.parse(await readFile(new URL('docs/openapi.json', packageRoot), 'utf8'))
      const hint = 'run: node dist/controlplane/src/write-openapi.js docs/openapi.json'
      assert.deepEqual(served.json, committed, hint)
    })
  })

  it('answers with a problem where Pulse cannot be reached', async () => {
    await withServer(async (client) => {
      for (const path of ['requests', 'requests/tail', `requests/01f81d4f-7dec-7000-a765-00a0c91e6bf6`]) {
        const answer = await client.get(`/api/v1/${path}`)
        assertProblem(answer, 503, 'PULSE_UNAVAILABLE')
        assert.equal(answer.headers.get('retry-after'), '2')
      }
    })
  })

  it('answers with a problem where Pulse is connected and silent', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    try {
      await withDirectory(async (directory) => {
        const controlPlane = await startForTest(directory, { pulse: { address: `127.0.0.1:${port}` } })
        assertProblem(await new Client(controlPlane).get('/api/v1/requests'), 504, 'PULSE_TIMEOUT')
        await controlPlane.stop()
      })
    } finally {
      silent.close()
    }
  })

  it('refuses unknown and malformed parameters with what is accepted', async () => {
    await withServer(async (client) => {
      const bad = [
        'requests?colour=red',
        'requests?pageSize=0',
        'requests?pageSize=ten',
        'requests?start=yesterday',
        'requests?status=teapot',
        'requests/not-a-uuid',
        'timeseries?stepSeconds=60',
        'timeseries?start=2026-01-01T00:00:00Z&end=2026-01-02T00:00:00Z&stepSeconds=0',
        'agents/1',
        'revisions/latest',
      ]
      for (const path of bad) assertProblem(await client.get(`/api/v1/${path}`), 400, 'INVALID_ARGUMENT')
      const unknown = await client.get('/api/v1/requests?colour=red')
      assert.match(String(unknown.json['detail']), /"colour"; accepted: pageSize, pageToken, method/)
      assertProblem(await client.get('/api/v1/agents/01f81d4f-7dec-7000-a765-00a0c91e6bf6'), 404, 'NOT_FOUND')
      assertProblem(await client.get('/api/v1/revisions/9'), 404, 'NOT_FOUND')
      assertProblem(await client.get('/api/v1/nothing'), 404, 'NOT_FOUND')
    })
  })
})

describe('/revisions', () => {
  it('adds, lists newest first in pages, and gives one', async () => {
    await withServer(async (client) => {
      for (const level of ['metadata', 'headers', 'full']) {
        const added = await client.post('/api/v1/revisions', revision(`capture: {level: ${level}}`))
        assert.equal(added.status, 201)
        assert.equal(added.headers.get('location'), `/api/v1/revisions/${added.json['version']}`)
      }
      const first = await client.get('/api/v1/revisions?pageSize=2')
      assert.deepEqual(versions(first), [3, 2])
      const second = await client.get(`/api/v1/revisions?pageSize=2&pageToken=${first.json['nextPageToken']}`)
      assert.deepEqual(versions(second), [1])
      assert.equal(second.json['nextPageToken'], '')
      const one = await client.get('/api/v1/revisions/2')
      assert.equal(one.json['content'], 'capture: {level: headers}')
      assert.equal(one.json['note'], 'test')
      assert.match(String(one.json['createdAt']), /^\d{4}-\d\d-\d\dT/)
    })
  })

  it('refuses a document with line, column, finding and what is accepted', async () => {
    await withServer(async (client) => {
      const answer = await client.post('/api/v1/revisions', revision('capture:\n  levle: full\n'))
      assertProblem(answer, 400, 'INVALID_REVISION')
      assert.match(String(answer.json['detail']), /^2:3: unknown key "capture.levle"; did you mean "level"\?/)
      assert.deepEqual(Object(answer.json['errors'])[0].line, 2)
      assert.deepEqual(Object(answer.json['errors'])[0].path, 'capture.levle')
      const bad = ['', 'capture: [', '{}', 'capture: {level: all}', 'capture: {}\nsinks: []', 'a: &a [*a]']
      for (const content of bad) {
        assert.equal((await client.post('/api/v1/revisions', revision(content))).status, 400, content)
      }
      assert.deepEqual(versions(await client.get('/api/v1/revisions')), [])
    })
  })

  it('only checks with validateOnly', async () => {
    await withServer(async (client) => {
      const checked = await client.post('/api/v1/revisions?validateOnly=true', revision(headersOnly))
      assert.equal(checked.status, 200)
      assert.equal(Object(checked.json['capture']).level, 'headers')
      const wrong = await client.post('/api/v1/revisions?validateOnly=true', revision('capture: 1'))
      assertProblem(wrong, 400, 'INVALID_REVISION')
      assert.deepEqual(versions(await client.get('/api/v1/revisions')), [])
    })
  })

  it('adds nothing twice under one Idempotency-Key', async () => {
    await withServer(async (client) => {
      const idempotency = { 'idempotency-key': 'order-7' }
      const first = await client.post('/api/v1/revisions', revision(headersOnly), idempotency)
      const again = await client.post('/api/v1/revisions', revision(headersOnly), idempotency)
      assert.equal(again.status, 201)
      assert.deepEqual(again.json, first.json)
      const other = await client.post('/api/v1/revisions', revision('capture: {level: full}'), idempotency)
      assertProblem(other, 422, 'IDEMPOTENCY_KEY_REUSED')
      assert.deepEqual(versions(await client.get('/api/v1/revisions')), [1])
    })
  })

  it('adds with If-Match only while that revision is the latest', async () => {
    await withServer(async (client) => {
      const none = (await client.get('/api/v1/revisions')).headers.get('etag') ?? ''
      const added = await client.post('/api/v1/revisions', revision(headersOnly), { 'if-match': none })
      assert.equal(added.status, 201)
      const stale = await client.post('/api/v1/revisions', revision(headersOnly), { 'if-match': none })
      assertProblem(stale, 412, 'REVISION_CHANGED')
      const etag = added.headers.get('etag') ?? ''
      assert.equal((await client.get('/api/v1/revisions/1')).headers.get('etag'), etag)
      const next = await client.post('/api/v1/revisions', revision(headersOnly), { 'if-match': etag })
      assert.equal(next.status, 201)
      assertProblem(
        await client.post('/api/v1/revisions', revision(headersOnly), { 'if-match': '*' }),
        400,
        'INVALID_ARGUMENT',
      )
    })
  })

  it('refuses bodies that are too large or of another type', async () => {
    await withServer(async (client) => {
      const large = await client.post('/api/v1/revisions', revision(`# ${'x'.repeat(300_000)}`))
      assertProblem(large, 400, 'INVALID_ARGUMENT')
      assert.equal((await client.post('/api/v1/revisions', revision('x'.repeat(2_000_000)))).status, 413)
      const text = await client.post('/api/v1/revisions', revision(headersOnly), {
        'content-type': 'text/plain',
      })
      assert.equal(text.status, 415)
    })
  })

  it('limits the rate', async () => {
    await withServer(async (client) => {
      const answers = await Promise.all(
        Array.from({ length: 40 }, () =>
          client.post('/api/v1/revisions?validateOnly=true', revision(headersOnly)),
        ),
      )
      const refused = answers.filter(({ status }) => status === 429)
      assert.ok(refused.length >= 10, `${refused.length} of 40 were refused`)
      assert.ok(Number(refused[0]?.headers.get('retry-after')) >= 1)
    })
  })
})

describe('/object-urls', () => {
  it('signs for the address that the browser uses and never logs it', async () => {
    await withServer(async (client, _directory, logLines) => {
      const answer = await client.post('/api/v1/object-urls', { store: 'default', key })
      assert.equal(answer.status, 200, answer.text)
      assert.equal(answer.headers.get('cache-control'), 'no-store')
      const url = new URL(String(answer.json['url']))
      assert.equal(url.origin + url.pathname, `http://127.0.0.1:8333/bodies/${key}`)
      assert.equal(url.searchParams.get('X-Amz-Expires'), '60')
      assert.equal(url.searchParams.get('response-content-disposition'), 'attachment')
      assert.equal(url.searchParams.get('response-content-type'), 'application/octet-stream')
      assert.equal(url.searchParams.get('X-Amz-SignedHeaders'), 'host')
      const validMs = Date.parse(String(answer.json['expiresAt'])) - Date.now()
      assert.ok(validMs > 57_000 && validMs <= 60_000, `${validMs} ms`)
      await client.post('/api/v1/object-urls', { store: 'nowhere', key })
      assert.ok(logLines.length > 0)
      const signature = url.searchParams.get('X-Amz-Signature') ?? ''
      assert.equal(signature.length, 64)
      for (const secret of [signature, 'not-a-real-secret', 'AKIDTEST']) {
        assert.equal(logLines.join('').includes(secret), false)
        assert.equal(answer.text.includes('not-a-real-secret'), false)
      }
    })
  })

  it('refuses stores that are not configured and keys that are not objects of ours', async () => {
    await withServer(async (client) => {
      assertProblem(await client.post('/api/v1/object-urls', { store: 'other', key }), 404, 'STORE_UNKNOWN')
      const keys = ['', 'x', `/${key}`, `${key}/`, `${key}\n`, key.replace('v1', 'v2'), key.toUpperCase()]
      keys.push(key.replace('default', '..'), key.replace('default', 'a/b'), `${key}?versionId=1`)
      for (const wrong of keys) {
        assertProblem(await client.post('/api/v1/object-urls', { key: wrong }), 400, 'INVALID_ARGUMENT')
      }
      for (const validForSeconds of [0, 59, 301, 60.5, '60']) {
        assertProblem(
          await client.post('/api/v1/object-urls', { key, validForSeconds }),
          400,
          'INVALID_ARGUMENT',
        )
      }
    })
  })
})

describe('the guard', () => {
  it('answers for our own names only', async () => {
    await withServer(async (client) => {
      for (const host of ['localhost', 'LOCALHOST:7411', '127.0.0.1:1', '[::1]:7411', '127.8.8.8']) {
        assert.equal(await client.statusForHost(host), 200, host)
      }
      for (const host of [
        'evil.example',
        'localhost.evil.example',
        '10.0.0.1',
        '127.0.0.1.evil.example',
        'a@localhost',
      ]) {
        assert.equal(await client.statusForHost(host), 421, host)
      }
    })
  })

  it('takes changes from our own pages and from programs only', async () => {
    await withServer(async (client) => {
      const sent = (headers: Record<string, string>) =>
        client.post('/api/v1/revisions?validateOnly=true', revision(headersOnly), headers)
      assert.equal((await sent({})).status, 200)
      assertProblem(await sent({ origin: 'http://evil.example' }), 403, 'CROSS_SITE')
      assertProblem(await sent({ origin: 'null' }), 403, 'CROSS_SITE')
    })
  })

  it('sets the security headers and allows no other origin', async () => {
    await withServer(async (client) => {
      for (const path of ['/', '/api/v1/agents', '/api/v1/nothing']) {
        const { headers } = await client.get(path, { origin: 'http://evil.example' })
        const policy = headers.get('content-security-policy') ?? ''
        assert.match(policy, /default-src 'none'; script-src 'self';/)
        assert.match(policy, /connect-src 'self' http:\/\/127\.0\.0\.1:8333;/)
        assert.equal(headers.get('x-content-type-options'), 'nosniff')
        assert.equal(headers.get('referrer-policy'), 'no-referrer')
        assert.equal(headers.get('access-control-allow-origin'), null)
      }
    })
  })
})

describe('the page', () => {
  const build = async (directory: string) => {
    await mkdir(join(directory, 'page', 'assets'), { recursive: true })
    await writeFile(join(directory, 'page', 'index.html'), '<!doctype html><title>Cleartap</title>')
    await writeFile(join(directory, 'page', 'assets', 'main-1.js'), 'export {}')
    await writeFile(join(directory, 'control.txt'), 'not of the page')
  }

  it('is served at / and at the addresses that it makes', async () => {
    await withServer(async (client) => {
      for (const path of ['/', '/requests/01f81d4f-7dec-7000-a765-00a0c91e6bf6?host=a']) {
        const answer = await client.get(path, { accept: 'text/html' })
        assert.equal(answer.status, 200)
        assert.match(answer.text, /<title>Cleartap</)
        assert.equal(answer.headers.get('cache-control'), 'no-cache')
      }
      const script = await client.get('/assets/main-1.js')
      assert.match(script.headers.get('content-type') ?? '', /javascript/)
      assert.match(script.headers.get('cache-control') ?? '', /immutable/)
      for (const path of [
        '/control.txt',
        '/..%2fcontrol.txt',
        '/assets/none.js',
        '/api/v2',
        '/.git/config',
      ]) {
        assert.equal((await client.get(path)).status >= 400, true, path)
      }
    }, build)
  })

  it('says so when it is not built', async () => {
    await withServer(async (client) => {
      const answer = await client.get('/', { accept: 'text/html' })
      assert.equal(answer.status, 503)
      assert.match(answer.text, /The page is not built/)
    })
  })
})

function versions(answer: Answer): number[] {
  return Object(answer.json['revisions']).map(({ version }: { version: number }) => version)
}
