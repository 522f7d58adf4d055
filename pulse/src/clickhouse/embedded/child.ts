/**
 * The engine's own process: chDB can abort or hang its host, so its host is this and nothing else.
 * Started by engine.ts with an IPC channel; ends when the channel closes.
 */
import { rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { drainPending, Session } from 'chdb'
import { HttpInterface } from './http-interface.js'
import type { ChildMessage, ParentMessage, StartMessage } from './messages.js'

const CANNOT_LOCK = 76
/** As a server's http_max_uri_size. */
const MAX_URL_BYTES = 1024 * 1024

interface Engine {
  readonly server: Server
  readonly http: HttpInterface
  /** Holds the data directory open and locked between requests. */
  readonly session: Session
}

let engine: Engine | undefined
let spoolDir: string | undefined

process.on('message', (message: ParentMessage) => {
  switch (message.kind) {
    case 'start':
      return void start(message)
    case 'stop':
      return void stop(message.graceMs)
  }
})
// A parent that is gone waits for no answer, and what was acknowledged is on disk: a kill is the safe end,
// because exiting with a statement in flight can hang in the engine.
process.on('disconnect', () => {
  if (spoolDir !== undefined) rmSync(spoolDir, { recursive: true, force: true })
  process.kill(process.pid, 'SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)

async function start(message: StartMessage): Promise<void> {
  spoolDir = message.spoolDir
  try {
    const session = new Session(message.dataDir)
    await session.queryAsync('SELECT 1')
    const http = new HttpInterface(message)
    const server = createServer(
      { keepAliveTimeout: 30_000, maxHeaderSize: MAX_URL_BYTES },
      (request, response) => {
        void http.handle(request, response)
      },
    )
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', resolve)
    })
    engine = { server, http, session }
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('the server has no port')
    send({ kind: 'ready', port: address.port })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    // chDB says no more than this when another process holds the directory.
    const locked = reason.includes(`Code: ${CANNOT_LOCK}`) || reason.includes('Failed to create connection')
    process.send?.({ kind: 'failed', reason, locked } satisfies ChildMessage, () => process.exit(1))
  }
}

async function stop(graceMs: number): Promise<void> {
  if (engine) {
    engine.server.close()
    await engine.http.drain(graceMs)
    engine.server.closeAllConnections()
    await drainPending()
    engine.session.close()
    await drainPending()
  }
  process.exit(0)
}

function send(message: ChildMessage): void {
  process.send?.(message)
}
