/** Asks a service's admin endpoints over HTTP. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Service } from '../deploy/local/service.js'

export interface AdminAnswer {
  readonly status: number
  readonly body: string
}

/** @param host the Host header; absent: the address. Throws if nothing listens. */
export const askAdmin = async (address: string, path: string, host = address): Promise<AdminAnswer> => {
  const asked = request(`http://${address}${path}`, { headers: { host }, agent: false })
  asked.end()
  const [response] = await once(asked, 'response')
  return { status: response.statusCode, body: await text(response) }
}

/** Letter case of NaN is free: prom-client writes Nan. */
const sample = /^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\]|\\.)*",?)*\})? (-?[\d.e+-]+|NaN|[+-]?Inf)$/i

/** Values by name and labels, as the text format has them. Throws at a line that is none. */
export const parseMetrics = (body: string): ReadonlyMap<string, number> => {
  const values = new Map<string, number>()
  for (const line of body.split('\n')) {
    if (line === '' || /^# (HELP|TYPE) [a-zA-Z_:]/.test(line)) continue
    const [, name = '', labels = '', value = ''] = sample.exec(line) ?? []
    if (name === '') throw new Error(`no line of the text format: ${line}`)
    values.set(`${name}${labels}`, Number(value))
  }
  return values
}

/** Addresses on which a port is open for listening, as /proc/net says: hexadecimal. */
export const listenersOn = async (service: Service): Promise<readonly string[]> => {
  const port = Number(service.address('admin').split(':').at(-1))
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const tables = await Promise.all(['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8')))
  return tables
    .flatMap((table) => table.split('\n'))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = '', , state]) => local.endsWith(`:${hex}`) && state === '0A')
    .map(([, local = '']) => local.split(':')[0] ?? '')
}
