/** A TCP proxy that lets so many bytes a second through towards its target: a slow network, or a store that is behind. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface ThrottleProxy {
  /** Such as "http://127.0.0.1:40001". */
  readonly endpoint: string
  /** Where new connections lead; until it is set they are ended. */
  leadTo(endpoint: string): void
  /** Of all connections together, towards the target; Infinity: all at once; 0: nothing passes any more. */
  setBytesPerSecond(rate: number): void
  /** Ends all connections. */
  stop(): Promise<void>
}

class Throttle {
  bytesPerSecond = Number.POSITIVE_INFINITY
  #freeAtMs = 0

  /** Resolves when so many bytes may pass; never at rate 0. */
  async pass(bytes: number, signal: AbortSignal): Promise<void> {
    while (this.bytesPerSecond === 0) await sleep(100, undefined, { signal })
    const nowMs = performance.now()
    this.#freeAtMs = Math.max(nowMs, this.#freeAtMs) + (bytes / this.bytesPerSecond) * 1000
    if (this.#freeAtMs > nowMs) await sleep(this.#freeAtMs - nowMs, undefined, { signal })
  }
}

const forward = async (from: Socket, to: Socket, throttle: Throttle, signal: AbortSignal): Promise<void> => {
  for await (const chunk of from as AsyncIterable<Buffer>) {
    await throttle.pass(chunk.length, signal)
    if (!to.write(chunk)) await once(to, 'drain', { signal })
  }
}

/** Listens on a free port of 127.0.0.1. */
export const startThrottleProxy = async (): Promise<ThrottleProxy> => {
  const throttle = new Throttle()
  const sockets = new Set<Socket>()
  const stopping = new AbortController()
  let target: URL | undefined
  const server = createServer((client) => {
    if (target === undefined) {
      client.destroy()
      return
    }
    const upstream = connect(Number(target.port), target.hostname)
    const end = () => {
      for (const socket of [client, upstream]) {
        socket.destroy()
        sockets.delete(socket)
      }
    }
    for (const socket of [client, upstream]) sockets.add(socket.on('error', end).on('close', end))
    upstream.pipe(client)
    void forward(client, upstream, throttle, stopping.signal).catch(end).finally(end)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('the proxy has no address')
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    leadTo: (endpoint) => {
      target = new URL(endpoint)
    },
    setBytesPerSecond: (rate) => {
      throttle.bytesPerSecond = rate
    },
    stop: async () => {
      stopping.abort()
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
