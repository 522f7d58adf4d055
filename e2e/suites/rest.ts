/**
 * The REST API over the real Pulse: events go in by gRPC as an agent sends them, and come out of lists, pages,
 * single requests and time series.
 */
import assert from 'node:assert/strict'
import type { Event } from '../../gen/cleartap/event/v1/event.js'
import { ListRequestsResponse, QueryTimeseriesResponse, Request } from '../../gen/cleartap/pulse/v1/query.js'
import {
  firstNano,
  makeEvent,
  nanosPerSecond,
  type PulseStack,
  pathOf,
  withPulseStack,
} from '../pulse-stack.js'
import type { Suite, SuiteContext } from '../suite.js'

async function getJson(stack: PulseStack, path: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`http://${stack.http}/api/v1/${path}`)
  return { status: response.status, body: await response.json() }
}

async function list(stack: PulseStack, query: string): Promise<ListRequestsResponse> {
  const { status, body } = await getJson(stack, `requests${query}`)
  assert.equal(status, 200, JSON.stringify(body))
  return ListRequestsResponse.fromJSON(body)
}

const checkLists = async ({ cell }: SuiteContext, stack: PulseStack): Promise<void> => {
  const events = Array.from({ length: 250 }, (_, i) => makeEvent(i))
  await stack.agent.send(events)
  await cell('list: newest first, every field as sent', async () => {
    const { requests } = await list(stack, '?pageSize=5')
    assert.deepEqual(
      requests.map(pathOf),
      [249, 248, 247, 246, 245].map((i) => `/items/${i}`),
    )
    assert.deepEqual(requests[0]?.event?.kind, events[249]?.kind)
    assert.equal(requests[0]?.process?.exe, '/usr/bin/curl')
    assert.equal(requests[0]?.host, 'box-1')
    return undefined
  })
  await cell('list: pages hold every request once, also while new ones come', async () => {
    const seen: string[] = []
    let token = ''
    do {
      const page = await list(stack, `?pageSize=60&pageToken=${encodeURIComponent(token)}`)
      seen.push(...page.requests.map(pathOf))
      token = page.nextPageToken
      await stack.agent.send([makeEvent(1000, '/late')])
    } while (token !== '')
    assert.deepEqual(
      seen,
      Array.from({ length: 250 }, (_, i) => `/items/${249 - i}`),
    )
    return `${seen.length} requests in 5 pages`
  })
  const filters: readonly (readonly [string, number])[] = [
    ['status=5xx', 25],
    ['status=200', 225],
    ['status=>=500&method=POST', 9],
    ['method=POST&method=GET', 250],
    ['host=SHOP', 250],
    ['host==shop.example', 0],
    ['path=/items/24*', 11],
    ['path==/items/24', 1],
    ['comm=cur&exe=/usr/bin/*&pid=4242', 250],
    ['pid=4243', 0],
    ['start=2026-11-18T05:46:40Z&end=2026-11-18T05:46:50Z', 0],
  ]
  for (const [query, expected] of filters) {
    await cell(`filter ${query}`, async () => {
      const { requests } = await list(stack, `?pageSize=1000&${query.replaceAll('>', '%3E')}`)
      const own = requests.filter((request) => pathOf(request) !== '/late')
      assert.equal(own.length, expected)
      return `${own.length}`
    })
  }
  await cell('range: half-open, to the nanosecond', async () => {
    const at = (nano: bigint) =>
      `${new Date(Number(nano / 1_000_000n)).toISOString().slice(0, 19)}.${String(nano % nanosPerSecond).padStart(9, '0')}Z`
    const start = at(firstNano + 10n * nanosPerSecond)
    const { requests } = await list(stack, `?start=${start}&end=${at(firstNano + 12n * nanosPerSecond)}`)
    assert.deepEqual(requests.map(pathOf), ['/items/11', '/items/10'])
    const next = await list(
      stack,
      `?start=${at(firstNano + 10n * nanosPerSecond + 1n)}&end=${at(firstNano + 12n * nanosPerSecond)}`,
    )
    assert.deepEqual(next.requests.map(pathOf), ['/items/11'])
    return undefined
  })
  await checkOne({ cell }, stack, events)
}

const checkOne = async (
  { cell }: Pick<SuiteContext, 'cell'>,
  stack: PulseStack,
  events: readonly Event[],
): Promise<void> => {
  await cell('one request by its id', async () => {
    const { requests } = await list(stack, '?path==/items/7')
    const id = uuidText(requests[0]?.event?.eventId ?? Buffer.alloc(0))
    const { status, body } = await getJson(stack, `requests/${id}`)
    assert.equal(status, 200)
    assert.deepEqual(Request.fromJSON(body), requests[0])
    assert.deepEqual(requests[0]?.event?.eventId, events[7]?.eventId)
    return undefined
  })
  await cell('unknown id, foreign page token: problems', async () => {
    const unknown = await getJson(stack, 'requests/01f81d4f-7dec-7000-a765-00a0c91e6bf6')
    assert.equal(unknown.status, 404)
    assert.equal(Object(unknown.body).reason, 'REQUEST_NOT_FOUND')
    const { nextPageToken } = await list(stack, '?pageSize=1')
    const foreign = await getJson(stack, `requests?status=200&pageToken=${encodeURIComponent(nextPageToken)}`)
    assert.equal(foreign.status, 400)
    assert.equal(Object(foreign.body).reason, 'PAGE_TOKEN_MISMATCH')
    return undefined
  })
  await cell('time series: steps add up', async () => {
    const start = new Date(Number(firstNano / 1_000_000n)).toISOString()
    const end = new Date(Number(firstNano / 1_000_000n) + 250_000).toISOString()
    const { status, body } = await getJson(stack, `timeseries?start=${start}&end=${end}&stepSeconds=50`)
    assert.equal(status, 200, JSON.stringify(body))
    const { points } = QueryTimeseriesResponse.fromJSON(body)
    assert.deepEqual(
      points.map(({ requests, errors }) => [requests, errors]),
      Array.from({ length: 5 }, () => [50n, 5n]),
    )
    assert.equal(points[0]?.responseBytes, 50n * (2n ** 53n + 1n))
    return `${points.length} points`
  })
}

function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

const run = (context: SuiteContext): Promise<void> => withPulseStack((stack) => checkLists(context, stack))

export const suite: Suite = {
  name: 'rest',
  about: 'lists, pages, filters and time series of the control plane over the real Pulse',
  run,
}
