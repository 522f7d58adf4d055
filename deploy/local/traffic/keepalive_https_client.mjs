/** keepalive_client.py with node:https, all connections on one thread; same arguments, same output. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { Agent, request } from 'node:https'
import { buffer } from 'node:stream/consumers'

const timeoutMs = 60_000
const [address, caFile, prefix, connections, requests, name] = process.argv.slice(2)
const ca = await readFile(caFile)
const signal = AbortSignal.timeout(timeoutMs)

async function work(number) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca })
  const ports = new Set()
  for (let index = 0; index < Number(requests); index++) {
    const call = request(`https://${address}${prefix}/${number}/${index}/${name}`, { agent, signal })
    call.end()
    const [response] = await once(call, 'response')
    ports.add(response.socket.localPort)
    await buffer(response)
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
  }
  agent.destroy()
  if (ports.size !== 1) throw new Error(`connection ${number} was not kept: ports ${[...ports]}`)
  return [...ports][0]
}

const ports = await Promise.all(Array.from({ length: Number(connections) }, (_, number) => work(number)))
process.stdout.write(`${JSON.stringify({ ports })}\n`)
