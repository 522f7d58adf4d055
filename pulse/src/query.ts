/** QueryService: the only way to stored events. */
import { createHash } from 'node:crypto'
import { type CallContext, Status } from 'nice-grpc'
import { rpcError } from '../../common/grpc-error.js'
import {
  type GetRequestRequest,
  type GetRequestResponse,
  ListRequestsRequest,
  type ListRequestsResponse,
  type Point,
  type QueryServiceImplementation,
  type QueryTimeseriesRequest,
  type QueryTimeseriesResponse,
  type TailEventsRequest,
  type TailEventsResponse,
} from '../../gen/cleartap/pulse/v1/query.js'
import type { ClickHouse } from './clickhouse/client.js'
import { invalid, Parameters, readFilter, toSql } from './filter.js'
import { ask, readRange, scopeSql, statsOf } from './statements.js'
import { requestFromRow, requestSelect } from './tables/requests.js'
import { timestampFromMicros } from './tables/values.js'
import type { Tail } from './tail.js'
import type { TokenSigner } from './tokens.js'

export interface QueryOptions {
  readonly clickhouse: ClickHouse
  readonly database: string
  readonly org: string
  readonly tokens: TokenSigner
  readonly tail: Tail
}

const DEFAULT_PAGE_SIZE = 100
const MAX_PAGE_SIZE = 1000
const MAX_POINTS = 10_000n
const SECOND = 1_000_000_000n
const DAY = 86_400n * SECOND

/** Where a page ends: newest first, so the next page is before it. */
interface Cursor {
  readonly ts: string
  readonly eventId: string
  /** Rows stored later are not in this list. */
  readonly snapshotMicros: string
}

export class QueryService implements QueryServiceImplementation {
  readonly #options: QueryOptions

  constructor(options: QueryOptions) {
    this.#options = options
  }

  async listRequests(request: ListRequestsRequest, context: CallContext): Promise<ListRequestsResponse> {
    const pageSize = readPageSize(request.pageSize)
    const purpose = `list:${questionHash(request)}`
    const cursor = this.#readCursor(purpose, request.pageToken)
    const parameters = new Parameters()
    const conditions = [
      ...scopeSql(this.#options.org, readRange(request.range), parameters),
      toSql(readFilter(request.filter), parameters),
      `ingested_at <= fromUnixTimestamp64Micro(${parameters.add('Int64', cursor.snapshotMicros)}, 'UTC')`,
      ...(cursor.eventId === '' ? [] : beforeSql(cursor, parameters)),
    ]
    const sql = `SELECT ${requestSelect.join(', ')} FROM ${this.#options.database}.requests WHERE ${conditions.join(' AND ')} ORDER BY ts DESC, event_id DESC LIMIT ${pageSize + 1}`
    const { rows, statistics } = await ask(this.#options.clickhouse, sql, parameters, context)
    const page = rows.slice(0, pageSize)
    const last = page.at(-1)
    const next =
      rows.length > pageSize && last !== undefined
        ? { ts: String(last[0]), eventId: String(last[2]), snapshotMicros: cursor.snapshotMicros }
        : undefined
    return {
      requests: page.map((row) => requestFromRow(row).request),
      nextPageToken: next ? this.#options.tokens.sign(purpose, JSON.stringify(next)) : '',
      stats: statsOf(statistics),
    }
  }

  async getRequest(request: GetRequestRequest, context: CallContext): Promise<GetRequestResponse> {
    const { eventId } = request
    if (eventId.length !== 16) throw invalid('event_id', `expected 16 bytes, got ${eventId.length}`)
    const parameters = new Parameters()
    const hex = eventId.toString('hex')
    const conditions = [
      ...scopeSql(this.#options.org, { start: undefined, end: undefined }, parameters),
      `event_id = toFixedString(unhex(${parameters.add('String', hex)}), 16)`,
    ]
    const sql = `SELECT ${requestSelect.join(', ')} FROM ${this.#options.database}.requests WHERE ${conditions.join(' AND ')} LIMIT 1`
    const { rows } = await ask(this.#options.clickhouse, sql, parameters, context)
    const [row] = rows
    if (row === undefined) {
      throw rpcError(Status.NOT_FOUND, 'REQUEST_NOT_FOUND', `no request has event id ${hex}`, {
        resource: { type: 'cleartap.pulse.v1.Request', name: hex },
      })
    }
    return { request: requestFromRow(row).request }
  }

  tailEvents(request: TailEventsRequest, context: CallContext): AsyncGenerator<TailEventsResponse, void> {
    return this.#options.tail.follow(request, context.signal, () => context.sendHeader())
  }

  async queryTimeseries(
    request: QueryTimeseriesRequest,
    context: CallContext,
  ): Promise<QueryTimeseriesResponse> {
    const { start, end } = readRange(request.range)
    if (start === undefined || end === undefined) throw invalid('range', 'expected start and end')
    const step = readStep(request, end - start)
    const parameters = new Parameters()
    const filter = readFilter(request.filter)
    const index = `intDiv(toUnixTimestamp64Nano(ts) - ${parameters.add('Int64', start.toString())}, ${parameters.add('Int64', step.toString())})`
    const where = [...scopeSql(this.#options.org, { start, end }, parameters), toSql(filter, parameters)]
    const sql = `SELECT ${index} AS step, count(), countIf(status >= 500), sum(request_bytes), sum(response_bytes), toUInt64(quantileTDigest(0.5)(duration_ns)), toUInt64(quantileTDigest(0.99)(duration_ns)) FROM ${this.#options.database}.requests WHERE ${where.join(' AND ')} GROUP BY step ORDER BY step`
    const { rows, statistics } = await ask(this.#options.clickhouse, sql, parameters, context)
    return { points: fillPoints(rows, start, end, step), stats: statsOf(statistics) }
  }

  #readCursor(purpose: string, token: string): Cursor {
    if (token === '')
      return { ts: '', eventId: '', snapshotMicros: (BigInt(Date.now() + 1) * 1000n).toString() }
    return JSON.parse(this.#options.tokens.open(purpose, token, 'page_token')) as Cursor
  }
}

function readPageSize(asked: number): number {
  if (asked === 0) return DEFAULT_PAGE_SIZE
  if (asked < 0 || asked > MAX_PAGE_SIZE)
    throw invalid('page_size', `expected 1 to ${MAX_PAGE_SIZE}, got ${asked}`)
  return asked
}

/** The same for all pages of one list; a token is good for its own list only. */
function questionHash({ range, filter }: ListRequestsRequest): string {
  const question = ListRequestsRequest.encode({ range, filter, pageSize: 0, pageToken: '' }).finish()
  return createHash('sha256').update(question).digest('hex')
}

function beforeSql(cursor: Cursor, parameters: Parameters): string[] {
  const ts = `fromUnixTimestamp64Nano(${parameters.add('Int64', cursor.ts)}, 'UTC')`
  const eventId = `toFixedString(unhex(${parameters.add('String', cursor.eventId)}), 16)`
  return [`ts <= ${ts}`, `(ts, event_id) < (${ts}, ${eventId})`]
}

function readStep(request: QueryTimeseriesRequest, length: bigint): bigint {
  const { step } = request
  const nanos = step === undefined ? 0n : step.seconds * SECOND + BigInt(step.nanos)
  if (nanos < SECOND || nanos > DAY) throw invalid('step', 'expected 1 s to 1 day')
  if (length > nanos * MAX_POINTS) throw invalid('step', `expected at most ${MAX_POINTS} points in the range`)
  return nanos
}

function fillPoints(
  rows: readonly (readonly unknown[])[],
  start: bigint,
  end: bigint,
  step: bigint,
): Point[] {
  const byStep = new Map(rows.map((row) => [String(row[0]), row]))
  const points: Point[] = []
  for (let at = start, i = 0n; at < end; at += step, i += 1n) {
    const row = byStep.get(i.toString())
    const value = (column: number) => BigInt(String(row?.[column] ?? '0'))
    points.push({
      start: { ...timestampFromMicros(at / 1000n), nanos: Number(at % SECOND) },
      requests: value(1),
      errors: value(2),
      requestBytes: value(3),
      responseBytes: value(4),
      durationP50Nano: value(5),
      durationP99Nano: value(6),
    })
  }
  return points
}
