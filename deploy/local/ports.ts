/** Free ports on 127.0.0.1, for programs that cannot take port 0 themselves. */
import { once } from 'node:events'
import type { Server } from 'node:net'
import { createServer } from 'node:net'

const listen = async (): Promise<Server> => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

const portOf = (server: Server): number => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has no port')
  return address.port
}

/** Different ports that were free a moment ago; another process may take one before they are used. */
export const findFreePorts = async (count: number): Promise<readonly number[]> => {
  const servers = await Promise.all(Array.from({ length: count }, listen))
  const ports = servers.map(portOf)
  await Promise.all(
    servers.map(async (server) => {
      server.close()
      await once(server, 'close')
    }),
  )
  return ports
}
