/** The demo for people: traffic goes on, and every captured exchange is printed until Ctrl-C. */
import { setTimeout as sleep } from 'node:timers/promises'
import { toCaptured } from './captured.js'
import { openQueries } from './queries.js'
import type { Stack } from './stack.js'
import { tableHead, tableLine } from './table.js'
import type { ClientName, TlsServer } from './traffic.js'
import { makeBodies, makeBody, miss, send, sendBody } from './traffic.js'

const pauseMs = 700

const catalogue = {
  page: 2,
  items: [
    { id: 1041, name: 'tide table 2027', price: 12.5, stock: 118 },
    { id: 1042, name: 'brass compass', price: 89, stock: 7 },
    { id: 1043, name: 'sea chart, north', price: 34.9, stock: 0 },
  ],
}

const order = { item: 1042, quantity: 1, deliver: { city: 'Lisbon', country: 'PT' } }

const makeAllBodies = async (directory: string): Promise<void> => {
  await makeBodies(directory, [1_048_576])
  await makeBody(directory, 'items.json', '', JSON.stringify(catalogue))
  await makeBody(
    directory,
    'order.json',
    JSON.stringify(order),
    JSON.stringify({ accepted: true, order: 70_311 }),
  )
}

/** What the clients do, over and over. */
const visits = (server: TlsServer): readonly ((client: ClientName) => Promise<unknown>)[] => [
  (client) =>
    send(server, client, { method: 'GET', path: '/shop/items.json?token=secret&page=2', body: 'items.json' }),
  (client) => send(server, client, { method: 'POST', path: '/shop/order.json', body: 'order.json' }),
  (client) => miss(server, client, '/shop/items/none'),
  (client) => sendBody(server, client, 1_048_576, '/shop/uploads'),
]

const makeTraffic = async (server: TlsServer, signal: AbortSignal): Promise<void> => {
  await makeAllBodies(server.directory)
  const steps = visits(server)
  for (let round = 0; !signal.aborted; round += 1) {
    const step = steps[Math.floor(round / 2) % steps.length]
    await step?.(round % 2 === 0 ? 'curl' : 'python')
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
  }
}

const printTail = async (stack: Stack, signal: AbortSignal): Promise<void> => {
  const queries = openQueries(stack)
  try {
    for await (const { item } of queries.tail(signal)) {
      if (item?.$case === 'dropped') process.stdout.write(`… ${item.value.count} more, not shown\n`)
      if (item?.$case !== 'request') continue
      const captured = toCaptured(item.value)
      if (captured !== undefined) process.stdout.write(`${tableLine(captured)}\n`)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    queries.close()
  }
}

/** Runs until the signal is aborted; throws if traffic or tail fail before. */
export const runLive = async (stack: Stack, server: TlsServer, signal: AbortSignal): Promise<void> => {
  const { pulse, controlplane, pageUrl } = stack
  process.stdout.write(
    `\nThe page       ${pageUrl}\nPulse          ${pulse.address('listen')} (gRPC)\n` +
      `Control plane  ${controlplane.address('listen')} (gRPC)\nCtrl-C stops everything.\n\n${tableHead}\n`,
  )
  const failed = new AbortController()
  const both = AbortSignal.any([signal, failed.signal])
  const end = (error: unknown): never => {
    failed.abort()
    throw error
  }
  await Promise.all([printTail(stack, both).catch(end), makeTraffic(server, both).catch(end)])
}
