/** What the cells of the smoke suite share. */
import { execFile } from 'node:child_process'
import { realpath } from 'node:fs/promises'
import { promisify } from 'node:util'
import { checkout } from '../../deploy/local/checkout.js'
import type { Queries } from '../../deploy/local/queries.js'
import type { Stack } from '../../deploy/local/stack.js'
import type { ClientName, TlsServer } from '../../deploy/local/traffic.js'

export interface Scene {
  readonly stack: Stack
  readonly queries: Queries
  readonly python: TlsServer
  /** Proxies to python what is below /proxied/. */
  readonly nginx: TlsServer
}

/** Absolute path of a program on PATH. */
export const findProgram = async (name: string): Promise<string> => {
  const { stdout } = await promisify(execFile)('sh', ['-c', 'command -v "$0"', name])
  return stdout.trim()
}

/** The executable that a client runs in. */
export const exeOf = (client: ClientName): Promise<string> => {
  switch (client) {
    case 'curl':
      return findProgram('curl')
    case 'python':
    case 'requests':
    case 'asyncio':
      return realpath(checkout.python)
    case 'node':
      return realpath(checkout.node)
  }
}
