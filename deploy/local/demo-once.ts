/** The unattended demo: known requests, each of which must be found whole on both of its sides. */
import { randomBytes } from 'node:crypto'
import type { Request } from '../../gen/cleartap/pulse/v1/query.js'
import type { Captured, Side } from './captured.js'
import { findProblems, toCaptured } from './captured.js'
import { openQueries } from './queries.js'
import type { Stack } from './stack.js'
import { tableHead, tableLine } from './table.js'
import type { ClientName, SentRequest, TlsServer } from './traffic.js'
import { makeBodies, sendBody } from './traffic.js'

const sizes = [0, 1, 16 * 1024, 1024 * 1024]
const clients: readonly ClientName[] = ['curl', 'python']
const sides: readonly Side[] = ['client', 'server']
const arrivalTimeoutMs = 30_000

interface Verdict {
  readonly sent: SentRequest
  readonly side: Side
  readonly captured: Captured | undefined
  /** Empty if it was seen once and whole. */
  readonly problems: readonly string[]
}

const sendAll = async (
  server: TlsServer,
  prefix: string,
  signal: AbortSignal,
): Promise<readonly SentRequest[]> => {
  await makeBodies(server.directory, sizes)
  const sent: SentRequest[] = []
  for (const client of clients) {
    for (const size of sizes) {
      signal.throwIfAborted()
      sent.push(await sendBody(server, client, size, prefix))
    }
  }
  return sent
}

const judge = async (
  queries: ReturnType<typeof openQueries>,
  stored: readonly Request[],
  sent: SentRequest,
  side: Side,
  serverPid: number,
): Promise<Verdict> => {
  const matches = stored
    .map((request) => ({ request, captured: toCaptured(request) }))
    .filter(({ captured }) => captured?.path === sent.path && captured.side === side)
  const [first] = matches
  if (first?.captured === undefined) {
    return { sent, side, captured: undefined, problems: ['not in ClickHouse'] }
  }
  const pid = side === 'client' ? sent.clientPid : serverPid
  const wrongPid = first.captured.pid === pid ? [] : [`pid: ${first.captured.pid}, expected ${pid}`]
  const problems = [...wrongPid, ...(await findProblems(queries, first.request, first.captured, sent))]
  const twice = matches.length > 1 ? [`stored ${matches.length} times`] : []
  return { sent, side, captured: first.captured, problems: [...twice, ...problems] }
}

const printJson = (verdicts: readonly Verdict[]): void => {
  for (const { sent, captured, problems } of verdicts) {
    if (captured === undefined) continue
    const line = { ...captured, client: sent.client, whole: problems.length === 0, problems }
    process.stdout.write(`${JSON.stringify(line)}\n`)
  }
}

const printTable = (verdicts: readonly Verdict[]): void => {
  process.stdout.write(`${tableHead}  BODIES\n`)
  for (const { captured, problems } of verdicts) {
    if (captured === undefined) continue
    process.stdout.write(`${tableLine(captured)}  ${problems.length === 0 ? 'same bytes' : 'NOT WHOLE'}\n`)
  }
}

const printMissing = (verdicts: readonly Verdict[]): void => {
  for (const { sent, side, problems } of verdicts) {
    if (problems.length === 0) continue
    process.stderr.write(`missing: ${sent.path} (${side} side): ${problems.join('; ')}\n`)
  }
}

/**
 * Sends, waits, compares, prints. Returns whether every request was seen whole on both sides. Throws when the
 * signal is aborted.
 */
export const runOnce = async (
  stack: Stack,
  server: TlsServer,
  asJson: boolean,
  signal: AbortSignal,
): Promise<boolean> => {
  const queries = openQueries(stack)
  try {
    const prefix = `/demo/${randomBytes(6).toString('hex')}`
    const sent = await sendAll(server, prefix, signal)
    const expected = sent.length * sides.length
    const arrived = (found: readonly Request[]): boolean => signal.aborted || found.length >= expected
    const stored = await queries.waitByPath(prefix, arrived, arrivalTimeoutMs)
    signal.throwIfAborted()
    const verdicts: Verdict[] = []
    for (const request of sent) {
      for (const side of sides) {
        verdicts.push(await judge(queries, stored, request, side, server.program.pid))
      }
    }
    if (asJson) printJson(verdicts)
    else printTable(verdicts)
    printMissing(verdicts)
    const whole = verdicts.filter(({ problems }) => problems.length === 0).length
    process.stderr.write(
      `${sent.length} requests sent, seen on both sides: ${whole} of ${expected} captured whole, bodies fetched from the bucket and compared byte for byte\n`,
    )
    return whole === expected && stored.length === expected
  } finally {
    queries.close()
  }
}
