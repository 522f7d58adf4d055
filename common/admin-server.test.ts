import assert from 'node:assert/strict'
import { request } from 'node:http'
import { Counter, Registry } from 'prom-client'
import { type AdminServer, startAdminServer } from './admin-server.js'
import { createLogger } from './log.js'

const logger = createLogger('test', { level: 'error', format: 'json' })

interface Received {
  readonly status: number | undefined
  readonly body: string
}

function send(address: string, path: string, host: string = address, method = 'GET'): Promise<Received> {
  return new Promise((resolve, reject) => {
    const sent = request(`http://${address}${path}`, { method, headers: { host } }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode, body }))
    })
    sent.on('error', reject)
    sent.end()
  })
}

describe('admin server', () => {
  let server: AdminServer
  let reason: string | undefined = 'migrations are running'
  const registry = new Registry()
  new Counter({ name: 'cleartap_seen_total', help: 'Seen.', registers: [registry] }).inc(3)

  before(async () => {
    server = await startAdminServer({ listen: '127.0.0.1:0', registry, logger, notReady: () => reason })
  })

  after(() => server.stop())

  it('serves metrics and health', async () => {
    assert.match((await send(server.address, '/metrics')).body, /^cleartap_seen_total 3$/m)
    assert.equal((await send(server.address, '/healthz')).status, 200)
  })

  it('is ready once there is no reason against it', async () => {
    assert.deepEqual(await send(server.address, '/readyz'), { status: 503, body: 'migrations are running\n' })
    reason = undefined
    assert.equal((await send(server.address, '/readyz')).status, 200)
  })

  it('refuses other paths, methods and foreign host names', async () => {
    assert.equal((await send(server.address, '/')).status, 404)
    assert.equal((await send(server.address, '/metrics', server.address, 'POST')).status, 405)
    assert.equal((await send(server.address, '/metrics', 'evil.example:80')).status, 403)
    assert.equal((await send(server.address, '/metrics', 'localhost')).status, 200)
  })

  it('listens on loopback only', async () => {
    const options = { registry, logger, notReady: () => undefined }
    await assert.rejects(startAdminServer({ ...options, listen: '0.0.0.0:0' }), /only loopback/)
  })
})
