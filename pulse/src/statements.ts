/** Statements about requests, each with limits, and ClickHouse's refusals as answers. */
import type { CallContext } from 'nice-grpc'
import { Status } from 'nice-grpc'
import { rpcError } from '../../common/grpc-error.js'
import type { Stats, TimeRange } from '../../gen/cleartap/pulse/v1/query.js'
import type { Timestamp } from '../../gen/google/protobuf/timestamp.js'
import {
  type ClickHouse,
  type QueryResult,
  type QueryStatistics,
  StatementError,
} from './clickhouse/client.js'
import { invalid, type Parameters } from './filter.js'

const GIB = 1024 ** 3

/** What one question may cost. */
const QUERY_LIMITS = {
  max_execution_time: 20,
  timeout_overflow_mode: 'throw',
  max_rows_to_read: '2000000000',
  max_bytes_to_read: String(200 * GIB),
  read_overflow_mode: 'throw',
  max_memory_usage: String(2 * GIB),
  max_threads: 2,
} as const

const CANNOT_COMPILE_REGEXP = 427
const TIMEOUT_EXCEEDED = 159
const TOO_COSTLY = new Set([158, 241, 307, 396])

/** Runs a reading statement within limits; a cancelled call cancels it. Throws RpcError. */
export async function ask(
  clickhouse: ClickHouse,
  sql: string,
  parameters: Parameters,
  context: Pick<CallContext, 'signal'>,
): Promise<QueryResult> {
  try {
    return await clickhouse.query(sql, {
      parameters: parameters.values,
      signal: context.signal,
      settings: QUERY_LIMITS,
    })
  } catch (error) {
    context.signal.throwIfAborted()
    throw toRefusal(error)
  }
}

function toRefusal(error: unknown): unknown {
  if (!(error instanceof StatementError)) return error
  const { code } = error
  if (code === CANNOT_COMPILE_REGEXP) return invalid('filter', 'expected a regular expression in RE2 syntax')
  if (code === TIMEOUT_EXCEEDED) {
    return rpcError(
      Status.DEADLINE_EXCEEDED,
      'QUERY_TIMEOUT',
      'the question took too long; narrow the time range',
    )
  }
  if (code !== undefined && TOO_COSTLY.has(code)) {
    return rpcError(
      Status.RESOURCE_EXHAUSTED,
      'QUERY_TOO_COSTLY',
      'the question reads too much; narrow the time range',
    )
  }
  if (!error.retryable) return error
  return rpcError(Status.UNAVAILABLE, 'CLICKHOUSE_UNAVAILABLE', 'the event store does not answer', {
    retryDelayMs: 1000,
  })
}

export function statsOf(statistics: QueryStatistics): Stats {
  const seconds = statistics.elapsedNs / 1_000_000_000n
  return {
    rowsRead: statistics.rowsRead,
    bytesRead: statistics.bytesRead,
    elapsed: { seconds, nanos: Number(statistics.elapsedNs % 1_000_000_000n) },
  }
}

/** A range in nanoseconds; an open end is absent. */
export interface NanoRange {
  readonly start: bigint | undefined
  readonly end: bigint | undefined
}

const MAX_NANOS = (1n << 63n) - 1n

/** Throws INVALID_ARGUMENT for an end before the start, or a time that is none. */
export function readRange(range: TimeRange | undefined): NanoRange {
  const start = nanosOf(range?.start, 'range.start')
  const end = nanosOf(range?.end, 'range.end')
  if (start !== undefined && end !== undefined && end < start) throw invalid('range', 'expected start <= end')
  return { start, end }
}

function nanosOf(time: Timestamp | undefined, field: string): bigint | undefined {
  if (time === undefined) return undefined
  if (time.nanos < 0 || time.nanos > 999_999_999) throw invalid(field, 'expected nanos from 0 to 999999999')
  const nanos = time.seconds * 1_000_000_000n + BigInt(time.nanos)
  if (nanos < 0n) return 0n
  return nanos > MAX_NANOS ? MAX_NANOS : nanos
}

/** Conditions of org and range. */
export function scopeSql(org: string, range: NanoRange, parameters: Parameters): string[] {
  const time = (nanos: bigint) =>
    `fromUnixTimestamp64Nano(${parameters.add('Int64', nanos.toString())}, 'UTC')`
  const conditions = [`org = ${parameters.add('String', org)}`]
  if (range.start !== undefined) conditions.push(`ts >= ${time(range.start)}`)
  if (range.end !== undefined) conditions.push(`ts < ${time(range.end)}`)
  return conditions
}
