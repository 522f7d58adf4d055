/** What Node's own client and server say to each other must read the same here as they read it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http'
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server as TcpServer,
} from 'node:net'
import { ParserRun, type Step } from './fixtures.js'
import { createDice, type Dice } from './fuzz.js'

const REQUESTS = 200
const MAX_BODY_BYTES = 1 << 20

/** A message as Node read it. */
interface Seen {
  readonly line: string
  readonly rawHeaders: readonly string[]
  readonly body: string
}

interface Plan {
  readonly method: string
  readonly target: string
  readonly requestBody: Buffer
  readonly isRequestChunked: boolean
  readonly expects: boolean
  readonly status: number
  readonly responseBody: Buffer
  readonly isResponseChunked: boolean
}

function planOf(dice: Dice, index: number): Plan {
  const method = ['GET', 'POST', 'PUT', 'HEAD', 'DELETE'][dice(5)] ?? 'GET'
  const hasBody = method === 'POST' || method === 'PUT'
  const size = () => (dice(2) === 0 ? dice(100) : dice(60_000))
  const fill = (bytes: number) => Buffer.from(Array.from({ length: bytes }, () => dice(256)))
  return {
    method,
    target: `/r/${index}?q=${dice(1000)}`,
    requestBody: fill(hasBody ? size() : 0),
    isRequestChunked: dice(2) === 0,
    expects: hasBody && dice(3) === 0,
    status: [200, 200, 201, 204, 304, 404, 500][dice(7)] ?? 200,
    responseBody: fill(size()),
    isResponseChunked: dice(2) === 0,
  }
}

async function bodyOf(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk)
  return Buffer.concat(chunks).toString('latin1')
}

async function listen(server: Server | TcpServer): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

describe('Http1Parser beside Node', () => {
  const plans = new Map<string, Plan>()
  const requests: Seen[] = []
  const responses: Seen[] = []
  const steps: Step[] = []
  let server: Server
  let recorder: TcpServer
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })

  before(async () => {
    server = createServer({ keepAliveTimeout: 60_000 }, async (request, response) => {
      const body = await bodyOf(request)
      const { method, url = '', httpVersion, rawHeaders } = request
      requests.push({ line: `${method} ${url} HTTP/${httpVersion}`, rawHeaders, body })
      const plan = plans.get(url)
      assert.ok(plan)
      response.statusCode = plan.status
      response.setHeader('X-Answer', 'a b')
      const hasBody = method !== 'HEAD' && plan.status !== 204 && plan.status !== 304
      if (!plan.isResponseChunked && plan.status !== 204) {
        response.setHeader('Content-Length', plan.responseBody.length)
      }
      if (!hasBody) {
        response.end()
        return
      }
      if (plan.isResponseChunked) response.setHeader('Trailer', 'X-End')
      const half = plan.responseBody.length >> 1
      response.write(plan.responseBody.subarray(0, half))
      if (plan.isResponseChunked) response.addTrailers({ 'X-End': 'yes' })
      response.end(plan.responseBody.subarray(half))
    })
    const serverPort = await listen(server)
    recorder = createTcpServer((socket) => {
      const upstream = connect(serverPort, '127.0.0.1')
      socket.on('data', (bytes) => {
        steps.push(['request', bytes])
        upstream.write(bytes)
      })
      upstream.on('data', (bytes) => {
        steps.push(['response', bytes])
        socket.write(bytes)
      })
      socket.on('close', () => upstream.destroy())
      upstream.on('close', () => socket.destroy())
      socket.on('error', () => {})
      upstream.on('error', () => {})
    })
    const port = await listen(recorder)
    const dice = createDice(7)
    for (let index = 0; index < REQUESTS; index++) await exchange(port, planOf(dice, index))
  })

  after(() => {
    agent.destroy()
    recorder.close()
    server.closeAllConnections()
    server.close()
  })

  async function exchange(port: number, plan: Plan): Promise<void> {
    plans.set(plan.target, plan)
    const request = httpRequest({ port, host: '127.0.0.1', method: plan.method, path: plan.target, agent })
    request.setHeader('X-Own', 'v')
    if (plan.expects) request.setHeader('Expect', '100-continue')
    if (plan.requestBody.length > 0 && !plan.isRequestChunked) {
      request.setHeader('Content-Length', plan.requestBody.length)
    }
    const answered = once(request, 'response') as Promise<[IncomingMessage]>
    if (plan.expects) {
      request.flushHeaders()
      await once(request, 'continue')
    }
    if (plan.requestBody.length > 0 && plan.isRequestChunked) request.write(plan.requestBody.subarray(0, 10))
    request.end(plan.requestBody.subarray(plan.isRequestChunked && plan.requestBody.length > 0 ? 10 : 0))
    const [response] = await answered
    const { statusCode, statusMessage, httpVersion, rawHeaders } = response
    const line = `HTTP/${httpVersion} ${statusCode} ${statusMessage}`
    responses.push({ line, rawHeaders, body: await bodyOf(response) })
  }

  it(`reads ${REQUESTS} exchanges of one connection as Node does`, () => {
    const run = new ParserRun(MAX_BODY_BYTES)
    for (const [side, bytes] of steps) run.push(side, bytes)
    assert.equal(run.exchanges.length, REQUESTS)
    run.exchanges.forEach((found, index) => {
      assert.equal(found.completeness, 'complete')
      for (const [message, seen] of [
        [found.request, requests[index]],
        [found.response, responses[index]],
      ] as const) {
        assert.equal(message?.startLine, seen?.line)
        assert.deepEqual(message?.headers.flat(), seen?.rawHeaders)
        const body = Buffer.concat(message?.body?.chunks ?? []).toString('latin1')
        assert.equal(body, seen?.body)
      }
    })
    const wireBytes = (side: string) =>
      steps.reduce((sum, [other, bytes]) => sum + (other === side ? bytes.length : 0), 0)
    const sum = run.exchanges.reduce((total, { request }) => total + request.wireBytes, 0)
    assert.equal(sum, wireBytes('request'))
  })
})
