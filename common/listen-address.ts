import { isIPv4, isIPv6 } from 'node:net'

export interface HostPort {
  /** Without brackets. */
  readonly host: string
  readonly port: number
}

/** Takes HOST:PORT or [IPV6]:PORT apart. Throws an Error that says what is accepted. */
export function parseAddress(address: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(address)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port > 65_535) {
    throw new Error(`address "${address}": expected HOST:PORT, such as 127.0.0.1:7400`)
  }
  return { host, port }
}

/** HOST:PORT, with brackets around IPv6. */
export function formatAddress({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

export function isLoopback(host: string): boolean {
  if (isIPv4(host)) return host.startsWith('127.')
  return host === '::1' || host === 'localhost'
}

/** Takes a listen address apart. Throws for any that is not loopback: there is no TLS to protect others yet. */
export function parseLoopbackAddress(address: string): HostPort {
  const parsed = parseAddress(address)
  if (isLoopback(parsed.host)) return parsed
  throw new Error(
    `listen address "${address}": only loopback (127.0.0.1, [::1], localhost) is accepted, because this listener has no TLS`,
  )
}
