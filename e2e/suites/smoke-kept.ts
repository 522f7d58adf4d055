/** One process with many connections at a time: every request is on the right one. */
import assert from 'node:assert/strict'
import { realpath } from 'node:fs/promises'
import { checkout } from '../../deploy/local/checkout.js'
import type { KeepAliveClient } from '../../deploy/local/traffic.js'
import { sendOnKeptConnections } from '../../deploy/local/traffic.js'
import { freshPrefix, onSide, waitForCount } from '../exchanges.js'
import type { SuiteContext } from '../suite.js'
import type { Scene } from './smoke-scene.js'

/** Responses are this long: the server has to have such a body. */
export const keptBodyBytes = 1024
const connections = 50

const checkRun = (
  { cell }: SuiteContext,
  scene: Scene,
  client: KeepAliveClient,
  perConnection: number,
): Promise<boolean> =>
  cell(
    `${client}: ${connections * perConnection} requests on ${connections} connections, each once, in order`,
    async () => {
      const prefix = freshPrefix('kept')
      const run = await sendOnKeptConnections(
        scene.python,
        prefix,
        connections,
        perConnection,
        keptBodyBytes,
        client,
      )
      const stored = await waitForCount(scene, prefix, 2 * connections * perConnection)
      const exes = {
        client: await realpath(client === 'node' ? checkout.node : checkout.python),
        server: await realpath(checkout.python),
      }
      for (const side of ['client', 'server'] as const) {
        const captured = onSide(stored, side)
        const ids = new Set(captured.map(({ connectionId }) => connectionId))
        assert.equal(ids.size, connections, `connections on the ${side} side`)
        for (const [number, port] of run.ports.entries()) {
          const own = captured.filter(({ path }) => path.startsWith(`${prefix}/${number}/`))
          const inOrder = own.toSorted((a, b) => a.indexInConnection - b.indexInConnection)
          assert.deepEqual(
            inOrder.map(({ path }) => path),
            Array.from(
              { length: perConnection },
              (_, index) => `${prefix}/${number}/${index}/${keptBodyBytes}`,
            ),
          )
          const end = `127.0.0.1:${port}`
          for (const { pid, exe: found, local, remote, status, completeness } of own) {
            const pids = { client: run.clientPid, server: scene.python.program.pid }
            const ends = side === 'client' ? [end, scene.python.listen] : [scene.python.listen, end]
            assert.deepEqual([pid, found, local, remote], [pids[side], exes[side], ...ends])
            assert.deepEqual([status, completeness], [200, 'complete'])
          }
        }
      }
      const matches = [...new Set(onSide(stored, 'client').map(({ confidence }) => confidence))]
      return `${stored.length} exchanges, pid, exe and addresses right, clients’ sockets ${matches.join(' and ')}`
    },
  )

export const checkKeptConnections = async (context: SuiteContext, scene: Scene): Promise<void> => {
  await checkRun(context, scene, 'threads', context.full ? 200 : 20)
  for (const client of ['asyncio', 'node'] as const) await checkRun(context, scene, client, 10)
}
