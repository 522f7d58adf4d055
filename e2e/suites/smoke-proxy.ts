/** nginx in the middle: a TLS server to its clients, a TLS client of the server behind it. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { toCaptured } from '../../deploy/local/captured.js'
import type { SentRequest, TlsServer } from '../../deploy/local/traffic.js'
import { send } from '../../deploy/local/traffic.js'
import type { Request } from '../../gen/cleartap/pulse/v1/query.js'
import { checkBothSides, freshPrefix, onSide, waitForCount } from '../exchanges.js'
import type { SuiteContext } from '../suite.js'
import { exeOf, findProgram, type Scene } from './smoke-scene.js'

const sizes = [0, 1, 16 * 1024, 1024 * 1024, 1, 0]

const workerOf = async ({ program: { pid } }: TlsServer): Promise<number> => {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ')
  assert.equal(children.length, 1, `nginx has one worker: ${children}`)
  return Number(children[0])
}

/** Those of both sides that went to this server. */
const exchangesWith = (stored: readonly Request[], { listen }: TlsServer): readonly Request[] =>
  stored.filter((request) => {
    const captured = toCaptured(request)
    return (captured?.side === 'client' ? captured.remote : captured?.local) === listen
  })

export const checkProxy = (
  { cell }: SuiteContext,
  { queries, stack, python, nginx }: Scene,
): Promise<boolean> =>
  cell('curl to nginx to python: all four ends, nginx’s own connection kept', async () => {
    const prefix = freshPrefix('proxied')
    const entrance = { ...nginx, directory: python.directory }
    const sent: SentRequest[] = []
    for (const [index, size] of sizes.entries())
      sent.push(
        await send(entrance, 'curl', { method: 'POST', path: `${prefix}/${index}/${size}`, body: size }),
      )
    const stored = await waitForCount({ queries, stack }, prefix, 4 * sent.length)
    const front = exchangesWith(stored, nginx)
    const behind = exchangesWith(stored, python)
    const clientPid = await workerOf(nginx)
    const [curl, nginxExe] = [await exeOf('curl'), await findProgram('nginx')]
    for (const request of sent) {
      await checkBothSides(queries, front, request, nginx, curl)
      await checkBothSides(queries, behind, { ...request, clientPid }, python, nginxExe)
    }
    const asked = onSide(behind, 'client')
    assert.equal(new Set(asked.map(({ connectionId }) => connectionId)).size, 1, 'nginx’s connections')
    assert.deepEqual(
      new Map(asked.map(({ path, indexInConnection }) => [path, indexInConnection])),
      new Map(sent.map(({ path }, index) => [path, index])),
    )
    for (const { pid } of onSide(front, 'server')) assert.equal(pid, clientPid)
    for (const { confidence } of asked) assert.equal(confidence, 'exact')
    return `${sent.length} × POST, ${stored.length} exchanges, ${asked.length} of them asked by nginx on one connection`
  })
