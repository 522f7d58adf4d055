/** Stands between a client and a ClickHouse and lets a test act before a statement or between it and its answer. */
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { AddressSource, ClickHouseAddress } from './client.js'

/** What becomes of a statement. `act` runs first; then the client's socket is closed without an answer. */
export type Fault =
  | { readonly kind: 'dropBefore'; readonly act: () => Promise<void> | void }
  | { readonly kind: 'dropAfter'; readonly act: () => Promise<void> | void }
  /** Answered with this ClickHouse error instead of being run. */
  | { readonly kind: 'error'; readonly code: number }

export class FaultProxy implements AddressSource {
  readonly #target: AddressSource
  readonly #server = createServer((request, response) => {
    this.#handle(request, response).catch(() => response.destroy())
  })
  #address: ClickHouseAddress | undefined
  #faults: { readonly statement: string; readonly fault: Fault }[] = []
  /** Statements seen, in order. */
  readonly statements: string[] = []

  constructor(target: AddressSource) {
    this.#target = target
  }

  async listen(): Promise<ClickHouseAddress> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const bound = this.#server.address()
    if (bound === null || typeof bound === 'string') throw new Error('the proxy has no port')
    this.#address = { url: `http://127.0.0.1:${bound.port}`, username: 'proxy', password: 'proxy' }
    return this.#address
  }

  address(): ClickHouseAddress | undefined {
    return this.#address
  }

  /** The next statement that contains the text meets the fault, once. */
  next(statement: string, fault: Fault): void {
    this.#faults.push({ statement, fault })
  }

  /** Faults that no statement has met yet. */
  get pending(): number {
    return this.#faults.length
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request)
    const url = new URL(request.url ?? '/', 'http://proxy')
    const sql = url.searchParams.get('query') ?? body.toString()
    this.statements.push(sql)
    const index = this.#faults.findIndex(({ statement }) => sql.includes(statement))
    const fault = index < 0 ? undefined : this.#faults.splice(index, 1)[0]?.fault
    if (fault?.kind === 'error') {
      response.writeHead(500, { 'X-ClickHouse-Exception-Code': String(fault.code) })
      response.end(`Code: ${fault.code}. DB::Exception: as the test wants it. (FAULT)`)
      return
    }
    if (fault?.kind === 'dropBefore') {
      await fault.act()
      response.destroy()
      return
    }
    const answer = await this.#forward(request, body)
    if (fault?.kind === 'dropAfter') {
      await fault.act()
      response.destroy()
      return
    }
    response.writeHead(answer.status, answer.headers)
    response.end(answer.body)
  }

  async #forward(request: IncomingMessage, body: Buffer) {
    const target = this.#target.address()
    if (target === undefined) throw new Error('the engine is down')
    const outgoing = httpRequest(`${target.url}${request.url}`, {
      method: request.method ?? 'POST',
      auth: `${target.username}:${target.password}`,
      agent: false,
    })
    outgoing.end(body)
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
    const { 'transfer-encoding': _encoding, connection: _connection, ...headers } = incoming.headers
    return { status: incoming.statusCode ?? 500, headers, body: await buffer(incoming) }
  }
}
