import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ClientName, TlsServer } from './traffic.js'
import { makeBodies, miss, send, sendOnKeptConnections, sendSteadily, startTlsServer } from './traffic.js'

describe('HTTPS traffic', function () {
  this.timeout(60_000)
  let directory = ''
  let server: TlsServer

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cleartap-test-'))
    await makeBodies(directory, [0, 70_000])
    server = await startTlsServer(directory)
  })

  after(async () => {
    await server.program.stop(0)
    await rm(directory, { recursive: true, force: true })
  })

  for (const client of [
    'curl',
    'python',
    'requests',
    'asyncio',
    'node',
  ] as const satisfies readonly ClientName[]) {
    it(`${client} sends and receives bodies`, async () => {
      for (const size of [0, 70_000]) {
        const sent = await send(server, client, { method: 'POST', path: `/a/${size}?x=1`, body: size })
        assert.deepEqual(
          [sent.path, sent.requestBody.length, sent.responseBody.length],
          [`/a/${size}`, size, size],
        )
        assert.ok(sent.clientPid > 0 && sent.clientPid !== process.pid)
      }
    })
  }

  it('notices other bytes than those that were sent', async () => {
    const other = await mkdtemp(join(tmpdir(), 'cleartap-test-'))
    try {
      await makeBodies(other, [70_000])
      const mismatched = { ...server, directory: other }
      await assert.rejects(
        send(mismatched, 'curl', { method: 'GET', path: '/a/70000', body: 70_000 }),
        /other bytes than sent/,
      )
    } finally {
      await rm(other, { recursive: true, force: true })
    }
  })

  it('fails when the client fails, and bears a miss', async () => {
    await assert.rejects(send(server, 'curl', { method: 'GET', path: '/none', body: 0 }), /404/)
    await miss(server, 'curl', '/none')
  })

  for (const client of ['threads', 'asyncio', 'node'] as const)
    it(`keeps connections: ${client}`, async () => {
      const { ports } = await sendOnKeptConnections(server, '/kept', 5, 4, 70_000, client)
      assert.equal(new Set(ports).size, 5)
    })

  it('sends at a steady rate', async () => {
    const requests = await sendSteadily(server, '/steady', 1, 20, 0)
    assert.equal(requests.length, 20)
    assert.equal(new Set(requests.map(({ path }) => path)).size, 20)
    assert.ok(requests.every(({ endMs }) => Math.abs(endMs - Date.now()) < 60_000))
  })
})
