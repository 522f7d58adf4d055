/**
 * ClickHouse's HTTP interface over chDB, as far as Pulse uses it.
 *
 * Known: /ping; POST with the statement in `query` or as body; rows of an insert as body; Basic credentials;
 * settings and `param_*` in the URL; query_id; database; default_format; gzip request bodies; error codes.
 * Results are held in memory before they are sent, so a result is bounded by MAX_RESULT_BYTES.
 * Not known, and refused: sessions, native compression, rows inside a statement, files, several statements.
 */
import { randomUUID, timingSafeEqual } from 'node:crypto'
import { rm } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Session } from 'chdb'
import { ENGINE_USER } from './messages.js'
import { BodyTooLargeError, readBodyText, spoolBody } from './spool-file.js'
import { readStatement } from './statement.js'

const MAX_STATEMENT_BYTES = 1024 * 1024
const MAX_RESULT_BYTES = 256 * 1024 * 1024
const MAX_RUNNING = 64
const NOT_SETTINGS = new Set([
  'query',
  'query_id',
  'database',
  'default_format',
  'readonly',
  'log_comment',
  'user',
  'password',
  'role',
  'compress',
  'wait_end_of_query',
  'buffer_size',
  'send_progress_in_http_headers',
  'enable_http_compression',
])

const CODE = {
  unsupportedParameter: 36,
  databaseUnknown: 81,
  tooManyQueries: 202,
  authentication: 516,
  tooLarge: 307,
  unknown: 1002,
} as const

export interface HttpInterfaceOptions {
  readonly dataDir: string
  readonly spoolDir: string
  readonly maxInsertBytes: number
  readonly secret: string
}

/** An error as a ClickHouse server tells it. */
class EngineError extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

interface Running {
  readonly tag: string
  readonly done: Promise<void>
}

/** Serves requests; knows what runs, so that shutdown can finish or kill it. */
export class HttpInterface {
  readonly #options: HttpInterfaceOptions
  readonly #running = new Set<Running>()
  #accepting = true

  constructor(options: HttpInterfaceOptions) {
    this.#options = options
  }

  /** Answers one request. Never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const url = new URL(request.url ?? '/', 'http://localhost')
      if (url.pathname === '/ping') return void response.end('Ok.\n')
      this.#authenticate(request)
      if (!this.#accepting) throw new EngineError(CODE.tooManyQueries, 'the engine is stopping')
      if (this.#running.size >= MAX_RUNNING) {
        throw new EngineError(CODE.tooManyQueries, `${MAX_RUNNING} statements run already`)
      }
      await this.#track((tag) => this.#run(request, response, url.searchParams, tag))
    } catch (error) {
      sendError(request, response, error)
    }
  }

  /** Refuses new statements, waits for running ones up to graceMs, then kills them and waits again. */
  async drain(graceMs: number): Promise<void> {
    this.#accepting = false
    const all = () => Promise.allSettled([...this.#running].map((running) => running.done))
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, graceMs)
    })
    await Promise.race([all(), late])
    clearTimeout(timer)
    await Promise.allSettled([...this.#running].map((running) => this.#kill(running.tag)))
    await all()
  }

  async #track(run: (tag: string) => Promise<void>): Promise<void> {
    const tag = randomUUID()
    const done = run(tag)
    const running = { tag, done }
    this.#running.add(running)
    try {
      await done
    } finally {
      this.#running.delete(running)
    }
  }

  #authenticate(request: IncomingMessage): void {
    const expected = Buffer.from(
      `Basic ${Buffer.from(`${ENGINE_USER}:${this.#options.secret}`).toString('base64')}`,
    )
    const got = Buffer.from(request.headers.authorization ?? '')
    if (got.length !== expected.length || !timingSafeEqual(got, expected)) {
      throw new EngineError(CODE.authentication, 'Authentication failed')
    }
  }

  async #run(
    request: IncomingMessage,
    response: ServerResponse,
    parameters: URLSearchParams,
    tag: string,
  ): Promise<void> {
    const inUrl = parameters.get('query')
    const statement = readStatement(inUrl ?? (await readBodyText(request, MAX_STATEMENT_BYTES)))
    if (statement.kind === 'refused') throw new EngineError(statement.code, statement.reason)
    if (statement.kind === 'rows') {
      if (inUrl === null) throw new EngineError(497, 'rows inside a statement are not allowed')
      const path = await spoolBody(request, this.#options.spoolDir, this.#options.maxInsertBytes)
      const sql = `${statement.beforeRows} FROM INFILE '${path}' ${statement.afterRows}`
      try {
        return await this.#execute(request, response, parameters, { sql, readsOnly: false, tag })
      } finally {
        await rm(path, { force: true })
      }
    }
    if (inUrl !== null && (await readBodyText(request, MAX_STATEMENT_BYTES)) !== '') {
      throw new EngineError(CODE.unsupportedParameter, 'got a body beside a statement that takes no rows')
    }
    await this.#execute(request, response, parameters, { ...statement, tag })
  }

  async #execute(
    request: IncomingMessage,
    response: ServerResponse,
    parameters: URLSearchParams,
    statement: { readonly sql: string; readonly readsOnly: boolean; readonly tag: string },
  ): Promise<void> {
    const session = new Session(this.#options.dataDir)
    let killing: Promise<void> | undefined
    const abandoned = () => {
      if (!response.writableFinished) killing ??= this.#kill(statement.tag)
    }
    response.once('close', abandoned)
    try {
      const database = parameters.get('database')
      if (database !== null && database !== 'default') await session.queryAsync(`USE ${identifier(database)}`)
      await session.queryAsync(settingsStatement(parameters, statement))
      if (request.destroyed && response.destroyed) return
      const format = parameters.get('default_format') ?? 'TabSeparated'
      const result = await session.queryAsync(statement.sql, { format })
      sendResult(response, parameters, result)
    } finally {
      response.off('close', abandoned)
      await killing
      session.close()
    }
  }

  async #kill(tag: string): Promise<void> {
    const session = new Session(this.#options.dataDir)
    try {
      await session.queryAsync(`KILL QUERY WHERE startsWith(Settings['log_comment'], '${tag}') ASYNC`)
    } finally {
      session.close()
    }
  }
}

/** One SET with everything; `readonly` comes last and forbids its own undoing. */
function settingsStatement(
  parameters: URLSearchParams,
  statement: { readonly readsOnly: boolean; readonly tag: string },
): string {
  const settings = [
    `log_comment=${literal(`${statement.tag} ${parameters.get('log_comment') ?? ''}`)}`,
    `max_result_bytes=${MAX_RESULT_BYTES}`,
  ]
  for (const [name, value] of parameters) {
    if (NOT_SETTINGS.has(name)) continue
    if (name === 'session_id' || name === 'decompress') {
      throw new EngineError(CODE.unsupportedParameter, `${name} is not supported`)
    }
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name)) {
      throw new EngineError(CODE.unsupportedParameter, `got a setting named ${JSON.stringify(name)}`)
    }
    settings.push(`${name}=${literal(value)}`)
  }
  if (statement.readsOnly || (parameters.get('readonly') ?? '0') !== '0') settings.push('readonly=1')
  return `SET ${settings.join(', ')}`
}

/** A string in SQL. No character of it ends the literal or the statement. */
function literal(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\0', '\\0')}'`
}

function identifier(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(name)) {
    throw new EngineError(CODE.databaseUnknown, `Database ${JSON.stringify(name)} does not exist`)
  }
  return `\`${name}\``
}

function sendResult(
  response: ServerResponse,
  parameters: URLSearchParams,
  result: {
    readonly rowsRead: number
    readonly bytesRead: number
    readonly elapsed: number
    bytes(): Uint8Array
  },
): void {
  response.setHeader('X-ClickHouse-Query-Id', parameters.get('query_id') ?? '')
  response.setHeader(
    'X-ClickHouse-Summary',
    JSON.stringify({
      read_rows: String(result.rowsRead),
      read_bytes: String(result.bytesRead),
      elapsed_ns: String(Math.round(result.elapsed * 1e9)),
    }),
  )
  response.end(result.bytes())
}

function sendError(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) return void response.destroy()
  const message = error instanceof Error ? error.message : String(error)
  const code = errorCode(error, message)
  response.statusCode = httpStatus(code)
  response.setHeader('X-ClickHouse-Exception-Code', String(code))
  if (!request.complete) response.setHeader('Connection', 'close')
  response.end(
    message.startsWith('Code: ') ? message : `Code: ${code}. DB::Exception: ${message}.${name(code)}\n`,
  )
}

function errorCode(error: unknown, message: string): number {
  if (error instanceof EngineError) return error.code
  if (error instanceof BodyTooLargeError) return CODE.tooLarge
  return Number(/^Code: (\d+)\./.exec(message)?.[1] ?? CODE.unknown)
}

function name(code: number): string {
  switch (code) {
    case 36:
      return ' (BAD_ARGUMENTS)'
    case 62:
      return ' (SYNTAX_ERROR)'
    case 81:
      return ' (UNKNOWN_DATABASE)'
    case 202:
      return ' (TOO_MANY_SIMULTANEOUS_QUERIES)'
    case 307:
      return ' (TOO_MANY_BYTES)'
    case 497:
      return ' (ACCESS_DENIED)'
    case 516:
      return ' (AUTHENTICATION_FAILED)'
    default:
      return ' (UNKNOWN_EXCEPTION)'
  }
}

/** As ClickHouse's HTTPHandler sets them, for the codes that Pulse meets. */
function httpStatus(code: number): number {
  switch (code) {
    case 60:
    case 81:
      return 404
    case 36:
    case 47:
    case 62:
      return 400
    case 516:
      return 401
    case 497:
      return 403
    case 307:
      return 413
    default:
      return 500
  }
}
