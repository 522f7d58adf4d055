/** What suites ask of captured exchanges. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import type { Captured, Side } from '../deploy/local/captured.js'
import { findProblems, toCaptured } from '../deploy/local/captured.js'
import type { Queries } from '../deploy/local/queries.js'
import type { Service } from '../deploy/local/service.js'
import type { Stack } from '../deploy/local/stack.js'
import type { SentRequest, TlsServer } from '../deploy/local/traffic.js'
import type { Request } from '../gen/cleartap/pulse/v1/query.js'

export const arrivalTimeoutMs = 30_000

/** A path that no other run uses. */
export const freshPrefix = (name: string): string => `/${name}/${randomBytes(6).toString('hex')}`

/** What an agent says of itself that is not zero: for failures. */
const describeAgent = async (agent: Service): Promise<string> => {
  const response = await fetch(`http://${agent.address('admin')}/metrics`)
  const lines = (await response.text()).split('\n')
  const telling = /^cleartap_\w*(lost|dropped|queue|spool|events|exchanges|retries|failed|connected|buffered)/
  const metrics = lines.filter((line) => telling.test(line) && !line.endsWith(' 0'))
  return `the agent says:\n${metrics.join('\n')}\n${await agent.program.describeLog()}`
}

/** Waits for exactly count requests below the prefix; more is a failure as well. */
export const waitForCount = async (
  { queries, stack }: { readonly queries: Queries; readonly stack: Pick<Stack, 'agent'> },
  prefix: string,
  count: number,
  timeoutMs = arrivalTimeoutMs,
): Promise<readonly Request[]> => {
  const found = await queries.waitByPath(prefix, (requests) => requests.length >= count, timeoutMs)
  if (found.length === count) return found
  const details = await describeAgent(stack.agent)
  return assert.fail(`stored ${found.length} requests below ${prefix}, expected ${count}; ${details}`)
}

/** Captured values of one side. Throws on events that are no HTTP requests. */
export const onSide = (requests: readonly Request[], side: Side): readonly Captured[] =>
  requests
    .map((request) => {
      const captured = toCaptured(request)
      assert.ok(captured !== undefined, 'a request is not HTTP')
      return captured
    })
    .filter((captured) => captured.side === side)

/** Every sent request is stored once on each side, whole, by the right process, with mirrored addresses. */
export const checkBothSides = async (
  queries: Queries,
  stored: readonly Request[],
  sent: SentRequest,
  server: TlsServer,
  clientExe: string,
): Promise<void> => {
  const found = stored.flatMap((request) => {
    const captured = toCaptured(request)
    return captured?.path === sent.path ? [{ request, captured }] : []
  })
  for (const { request, captured } of found) {
    const problems = await findProblems(queries, request, captured, sent)
    assert.deepEqual(problems, [], `${sent.path} on the ${captured.side} side`)
  }
  assert.deepEqual(found.map(({ captured }) => captured.side).toSorted(), ['client', 'server'], sent.path)
  const client = found.find(({ captured }) => captured.side === 'client')?.captured
  const served = found.find(({ captured }) => captured.side === 'server')?.captured
  assert.ok(client !== undefined && served !== undefined)
  assert.equal(client.pid, sent.clientPid, 'pid of the client')
  assert.equal(client.exe, await realpath(clientExe), 'executable of the client')
  assert.ok([served.pid, served.parentPid].includes(server.program.pid), 'process of the server')
  assert.equal(client.remote, server.listen, 'address that the client asked')
  assert.equal(served.local, server.listen, 'address that the server listens on')
  assert.equal(client.local, served.remote, 'the client’s own address, seen from both ends')
}
