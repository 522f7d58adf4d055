/**
 * ClickHouse as Pulse sees it: over HTTP, the same for a server and for the embedded engine.
 * The only file that imports @clickhouse/client.
 */
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import {
  type ClickHouseClient,
  ClickHouseError,
  ClickHouseLogLevel,
  type ClickHouseSettings,
  createClient,
} from '@clickhouse/client'
import { describe, type SpanFacts, SpanKind, spanned } from '../../../common/tracing.js'

/** Where a ClickHouse listens and who asks. */
export interface ClickHouseAddress {
  readonly url: string
  readonly username: string
  readonly password: string
}

/** Says where ClickHouse is now: an embedded engine moves when it starts again. */
export interface AddressSource {
  /** Absent while there is none. */
  address(): ClickHouseAddress | undefined
}

/** A statement that failed. `retryable`: the same statement may succeed later; nothing is wrong with it. */
export class StatementError extends Error {
  /** ClickHouse's error code; absent if none reached us (socket errors, engine down). */
  readonly code: number | undefined
  readonly retryable: boolean

  constructor(message: string, code: number | undefined, retryable: boolean, cause?: unknown) {
    super(message, { cause })
    this.code = code
    this.retryable = retryable
  }
}

/** What a query read. */
export interface QueryStatistics {
  readonly rowsRead: bigint
  readonly bytesRead: bigint
  readonly elapsedNs: bigint
}

export interface QueryResult {
  /** Values as JSON gives them; 64-bit integers as text. */
  readonly rows: readonly (readonly unknown[])[]
  readonly statistics: QueryStatistics
}

export interface QueryOptions {
  readonly parameters?: Readonly<Record<string, unknown>>
  /** Limits; see QUERY_LIMITS. */
  readonly settings?: ClickHouseSettings
  /** Cancels the statement in ClickHouse too. */
  readonly signal?: AbortSignal
}

/** Codes after which the same bytes may be sent again (pipeline of retries; ErrorCodes.cpp names them). */
const RETRYABLE_CODES = new Set([159, 164, 202, 209, 210, 241, 242, 243, 252, 319, 439, 745, 999])
const REQUEST_TIMEOUT_MS = 120_000
/** Below the 10 s after which a server closes an idle socket. */
const IDLE_SOCKET_MS = 2_500

interface Clients {
  readonly address: ClickHouseAddress
  readonly insert: ClickHouseClient
  readonly query: ClickHouseClient
  readonly ddl: ClickHouseClient
}

export class ClickHouse {
  readonly #source: AddressSource
  #clients: Clients | undefined

  constructor(source: AddressSource) {
    this.#source = source
  }

  /** Sends rows as the body of `sql` (an INSERT … FORMAT without rows). Throws StatementError. */
  async insert(sql: string, rows: Uint8Array, settings: ClickHouseSettings): Promise<void> {
    await this.#attempt(async (clients) => {
      const { stream } = await clients.insert.exec({
        query: sql,
        values: Readable.from([rows], { objectMode: false, highWaterMark: 1 << 20 }),
        clickhouse_settings: { ...settings, wait_end_of_query: 1 },
      })
      await buffer(stream)
    })
  }

  /** Runs a reading statement, read-only. Throws StatementError. */
  async query(sql: string, options: QueryOptions = {}): Promise<QueryResult> {
    const facts = { 'db.system.name': 'clickhouse' } as const
    return await spanned('clickhouse query', { kind: SpanKind.CLIENT, facts }, async (span) => {
      try {
        const result = await this.#query(sql, options)
        describe(span, queryFacts(result))
        return result
      } catch (error) {
        if (error instanceof StatementError && error.code !== undefined)
          describe(span, { 'db.response.status_code': error.code })
        throw error
      }
    })
  }

  async #query(sql: string, options: QueryOptions): Promise<QueryResult> {
    return await this.#attempt(async (clients) => {
      const result = await clients.query.query({
        query: sql,
        format: 'JSONCompact',
        ...(options.parameters && { query_params: options.parameters }),
        ...(options.signal && { abort_signal: options.signal }),
        clickhouse_settings: {
          ...options.settings,
          output_format_json_quote_64bit_integers: 1,
          cancel_http_readonly_queries_on_client_close: 1,
          readonly: '1',
        },
      })
      const { data, statistics } = await result.json<readonly unknown[]>()
      return {
        rows: data,
        statistics: {
          rowsRead: BigInt(statistics?.rows_read ?? 0),
          bytesRead: BigInt(statistics?.bytes_read ?? 0),
          elapsedNs: BigInt(Math.round((statistics?.elapsed ?? 0) * 1e9)),
        },
      }
    })
  }

  /** Runs a statement that changes tables. Throws StatementError. */
  async command(sql: string): Promise<void> {
    await this.#attempt(async (clients) => {
      await clients.ddl.command({ query: sql, clickhouse_settings: { wait_end_of_query: 1 } })
    })
  }

  async close(): Promise<void> {
    const clients = this.#clients
    this.#clients = undefined
    if (clients) await closeClients(clients)
  }

  async #attempt<T>(act: (clients: Clients) => Promise<T>): Promise<T> {
    const clients = this.#current()
    try {
      return await act(clients)
    } catch (error) {
      throw statementError(error)
    }
  }

  #current(): Clients {
    const address = this.#source.address()
    if (address === undefined) throw new StatementError('ClickHouse is not running', undefined, true)
    if (this.#clients?.address !== address) {
      const old = this.#clients
      this.#clients = openClients(address)
      if (old) void closeClients(old)
    }
    return this.#clients
  }
}

function queryFacts({ rows, statistics }: QueryResult): SpanFacts {
  return {
    'cleartap.rows': rows.length,
    'cleartap.rows_read': Number(statistics.rowsRead),
    'cleartap.bytes_read': Number(statistics.bytesRead),
    'cleartap.elapsed_ms': Number(statistics.elapsedNs) / 1e6,
  }
}

function openClients(address: ClickHouseAddress): Clients {
  const open = (max_open_connections: number) =>
    createClient({
      url: address.url,
      username: address.username,
      password: address.password,
      max_open_connections,
      request_timeout: REQUEST_TIMEOUT_MS,
      keep_alive: { enabled: true, idle_socket_ttl: IDLE_SOCKET_MS },
      application: 'cleartap-pulse',
      use_multipart_params_auto: false,
      log: { level: ClickHouseLogLevel.OFF },
    })
  return { address, insert: open(4), query: open(8), ddl: open(1) }
}

async function closeClients(clients: Clients): Promise<void> {
  await Promise.allSettled([clients.insert.close(), clients.query.close(), clients.ddl.close()])
}

function statementError(error: unknown): StatementError {
  if (error instanceof StatementError) return error
  const message = error instanceof Error ? error.message : String(error)
  // The client does not recognise an error whose text spans lines.
  const code =
    error instanceof ClickHouseError ? Number(error.code) : Number(/^Code: (\d+)\./.exec(message)?.[1])
  if (Number.isInteger(code)) {
    return new StatementError(`ClickHouse: ${message}`, code, RETRYABLE_CODES.has(code), error)
  }
  return new StatementError(`ClickHouse does not answer: ${message}`, undefined, true, error)
}
