/**
 * The HTTP/2 flow-control window of gRPC servers. @grpc/grpc-js has an option for its clients only; a server
 * keeps Node's 64 KiB, which leaves both sides of a busy stream waiting. Its call of http2.createServer is
 * therefore widened for servers that are bound inside withServerWindow.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import http2, { type Http2Server, type ServerOptions } from 'node:http2'

const requested = new AsyncLocalStorage<number>()

/** Runs bind, which makes HTTP/2 servers; they get a window of this many bytes a stream and a connection. */
export function withServerWindow<T>(windowBytes: number, bind: () => Promise<T>): Promise<T> {
  return requested.run(windowBytes, bind)
}

type MakeServer = (options: ServerOptions, ...rest: unknown[]) => Http2Server

for (const name of ['createServer', 'createSecureServer'] as const) {
  const make = http2[name] as MakeServer
  const widened: MakeServer = (options, ...rest) => {
    const windowBytes = requested.getStore()
    if (windowBytes === undefined) return make(options, ...rest)
    const settings = { ...options.settings, initialWindowSize: windowBytes }
    const server = make({ ...options, settings }, ...rest)
    server.on('session', (session) => session.setLocalWindowSize(windowBytes))
    return server
  }
  Object.assign(http2, { [name]: widened })
}
