import assert from 'node:assert/strict'
import fc from 'fast-check'
import { type ExpectedExchange, ParserRun, readFixtures, type Step } from './fixtures.js'
import { fuzzOnce } from './fuzz.js'

const FUZZ_COUNT = 5000

const token = fc.stringMatching(/^[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}$/)
const value = fc.stringMatching(/^([!-~\x80-\xff]([ -~\x80-\xff]{0,20}[!-~\x80-\xff])?)?$/)
const headers = fc
  .array(fc.tuple(token, value), { maxLength: 6 })
  .map((list) => list.filter(([name]) => !/^(content-length|transfer-encoding)$/i.test(name)))
const bytes = fc.uint8Array({ maxLength: 300 }).map((body) => Buffer.from(body))
const chunked = fc.record({
  kind: fc.constant('chunked' as const),
  pieces: fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 5 }),
  extension: fc.constantFrom('', ';a=b', ' ;c="d;e"'),
  trailers: headers,
})
const sized = fc.record({ kind: fc.constant('sized' as const), body: bytes })
const none = fc.record({ kind: fc.constant('none' as const) })
const request = fc.record({
  method: fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'X-OWN_METHOD'),
  target: fc.stringMatching(/^\/[!-~]{0,30}$/),
  headers,
  body: fc.oneof(none, sized, chunked),
})
const response = fc.record({
  interim: fc.array(fc.constantFrom(100, 102, 103), { maxLength: 2 }),
  status: fc.constantFrom(200, 201, 204, 304, 404, 500),
  reason: fc.constantFrom('', ' ', ' OK', ' Not So Good'),
  headers,
  body: fc.oneof(sized, chunked),
})
type ValueOf<A> = A extends fc.Arbitrary<infer V> ? V : never
type Request = ValueOf<typeof request>
type Response = ValueOf<typeof response>

function fields(list: readonly (readonly [string, string])[]): string {
  return list.map(([name, text]) => `${name}: ${text}\r\n`).join('')
}

function wire(startLine: string, list: [string, string][], body: Request['body'], hasBody = true): Buffer {
  const head = (framing: string) => Buffer.from(`${startLine}\r\n${fields(list)}${framing}\r\n`, 'latin1')
  switch (body.kind) {
    case 'none':
      return head('')
    case 'sized':
      return Buffer.concat([
        head(`Content-Length: ${body.body.length}\r\n`),
        hasBody ? body.body : Buffer.alloc(0),
      ])
    case 'chunked': {
      if (!hasBody) return head('Transfer-Encoding: chunked\r\n')
      const chunks = body.pieces.flatMap((piece) => [
        Buffer.from(`${piece.length.toString(16)}${body.extension}\r\n`),
        piece,
        Buffer.from('\r\n'),
      ])
      const end = Buffer.from(`0\r\n${fields(body.trailers)}\r\n`, 'latin1')
      return Buffer.concat([head('Transfer-Encoding: chunked\r\n'), ...chunks, end])
    }
  }
}

function content(body: Request['body']): string | null {
  switch (body.kind) {
    case 'none':
      return null
    case 'sized':
      return body.body.toString('latin1')
    case 'chunked':
      return Buffer.concat(body.pieces).toString('latin1')
  }
}

function canHaveBody(method: string, status: number): boolean {
  return method !== 'HEAD' && status !== 204 && status !== 304
}

function responseWire(method: string, answer: Response): Buffer {
  const { status, reason, body } = answer
  const interim = answer.interim.map((code) => Buffer.from(`HTTP/1.1 ${code} Interim\r\nX: y\r\n\r\n`))
  const final = wire(`HTTP/1.1 ${status}${reason}`, answer.headers, body, canHaveBody(method, status))
  return Buffer.concat([...interim, final])
}

function expectedOf(ask: Request, answer: Response): ExpectedExchange {
  return {
    method: ask.method,
    target: ask.target,
    status: answer.status,
    requestBody: content(ask.body),
    responseBody: canHaveBody(ask.method, answer.status) ? content(answer.body) : null,
    completeness: 'complete',
  }
}

/** Cuts bytes into pieces at pseudo-random places. */
function pieces(whole: Buffer, cut: () => number): Buffer[] {
  const result: Buffer[] = []
  let at = 0
  while (at < whole.length) {
    const end = Math.min(whole.length, at + cut())
    result.push(whole.subarray(at, end))
    at = end
  }
  return result
}

describe('Http1Parser, for any conversation', () => {
  it('gives back the messages that were written, however they are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(request, response), { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        fc.infiniteStream(fc.integer({ min: 1, max: 120 })),
        (pairs, isPipelined, sizes) => {
          const cut = () => Number(sizes.next().value)
          const asks = pairs.map(([ask]) =>
            wire(`${ask.method} ${ask.target} HTTP/1.1`, ask.headers, ask.body),
          )
          const answers = pairs.map(([ask, answer]) => responseWire(ask.method, answer))
          const steps: Step[] = isPipelined
            ? [
                ['request', Buffer.concat(asks)],
                ['response', Buffer.concat(answers)],
              ]
            : asks.flatMap((ask, index): Step[] => [
                ['request', ask],
                ['response', Buffer.from(answers[index] ?? [])],
              ])
          const run = new ParserRun(1 << 20)
          for (const [side, whole] of steps)
            for (const piece of pieces(Buffer.from(whole), cut)) run.push(side, piece)
          assert.deepEqual(
            run.summary(),
            pairs.map(([ask, answer]) => expectedOf(ask, answer)),
          )
          run.exchanges.forEach((exchange, index) => {
            const [ask, answer] = pairs[index] ?? []
            const names = exchange.request.headers.slice(0, ask?.headers.length)
            assert.deepEqual(names, ask?.headers)
            assert.deepEqual(exchange.response?.headers.slice(0, answer?.headers.length), answer?.headers)
            assert.equal(exchange.request.wireBytes, asks[index]?.length)
          })
          assert.equal(run.heldBytes, 0)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('keeps the beginning of a body up to the limit, and counts the whole', () => {
    fc.assert(
      fc.property(fc.nat(100), fc.nat(200), fc.integer({ min: 1, max: 50 }), (limit, size, piece) => {
        const run = new ParserRun(limit)
        const body = Buffer.alloc(size, 'x')
        run.push('request', Buffer.from(`POST / HTTP/1.1\r\nContent-Length: ${size}\r\n\r\n`))
        for (const part of pieces(body, () => piece)) run.push('request', part)
        run.push('response', Buffer.from('HTTP/1.1 204 No Content\r\n\r\n'))
        const kept = run.exchanges[0]?.request.body
        assert.equal(kept?.size, size)
        assert.equal(kept?.truncated, size > limit)
        assert.deepEqual(Buffer.concat(kept?.chunks ?? []), body.subarray(0, limit))
      }),
    )
  })

  it('costs memory for what it keeps, not for the pieces it came in', () => {
    const run = new ParserRun(1 << 20)
    run.push('request', Buffer.from('POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n'))
    for (let index = 0; index < 20_000; index++) run.push('request', Buffer.from('1\r\nx\r\n'))
    run.push('request', Buffer.from('0\r\n\r\n'))
    run.push('response', Buffer.from('HTTP/1.1 204 No Content\r\n\r\n'))
    assert.equal(run.exchanges[0]?.request.body?.size, 20_000)
    assert.ok((run.exchanges[0]?.request.body?.chunks.length ?? 0) < 10)
    assert.ok(run.peakHeldBytes < 30_000)
  })

  it('gives up on heads beyond its limits', () => {
    const limits = [
      `GET / HTTP/1.1\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`,
      `GET / HTTP/1.1\r\n${'X: y\r\n'.repeat(257)}\r\n`,
      'GET / HTTP/1.1\r\n\r\n'.repeat(1025),
    ]
    for (const text of limits) {
      const run = new ParserRun(0)
      for (const piece of pieces(Buffer.from(text), () => 1000)) run.push('request', piece)
      assert.equal(run.counters.gaveUpLimit, 1)
      assert.ok(run.parser.stopped)
      assert.equal(run.heldBytes, 0)
    }
  })

  it('gives up when the memory for a head is refused', () => {
    const run = new ParserRun(0, 100)
    run.push('request', Buffer.from(`GET / HTTP/1.1\r\nX: ${'x'.repeat(200)}\r\n\r\n`))
    assert.equal(run.counters.gaveUpOverBudget, 1)
    assert.equal(run.heldBytes, 0)
  })

  it(`survives ${FUZZ_COUNT} damaged conversations`, () => {
    const fixtures = readFixtures()
    for (let seed = 1; seed <= FUZZ_COUNT; seed++) {
      try {
        fuzzOnce(fixtures, seed)
      } catch (cause) {
        throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : ''}`, { cause })
      }
    }
  })
})
