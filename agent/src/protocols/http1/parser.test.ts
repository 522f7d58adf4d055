import assert from 'node:assert/strict'
import { type Fixture, ParserRun, readFixtures, type Step } from './fixtures.js'
import { HeadMemory } from './head-memory.js'

const MAX_BODY_BYTES = 1 << 20
const fixtures = readFixtures()

function play(steps: readonly Step[], end: Fixture['end'], memory = new HeadMemory()): ParserRun {
  const run = new ParserRun(MAX_BODY_BYTES, Number.POSITIVE_INFINITY, memory)
  steps.forEach(([side, bytes], index) => {
    run.push(side, bytes, BigInt(index + 1))
  })
  run.parser.end(99n, end)
  return run
}

/** All ways to cut one byte position out of a conversation: every step split in two there. */
function splitAt(steps: readonly Step[], place: number): Step[] {
  let left = place
  return steps.flatMap(([side, bytes]): Step[] => {
    const here = left
    left -= bytes.length
    if (here <= 0 || here >= bytes.length) return [[side, bytes]]
    return [
      [side, bytes.subarray(0, here)],
      [side, bytes.subarray(here)],
    ]
  })
}

function totalBytes(steps: readonly Step[]): number {
  return steps.reduce((sum, [, bytes]) => sum + bytes.length, 0)
}

function isAfter(run: ParserRun): boolean {
  const last = run.summary().at(-1)
  return last?.target === '/after' && last.responseBody === 'ok' && last.completeness === 'complete'
}

describe('Http1Parser', () => {
  it('yields the same where heads are remembered, its own or those of another conversation', () => {
    // One slot for all requests and one for all responses.
    const memory = new HeadMemory(2)
    const turns = [...fixtures, ...fixtures.toReversed()].flatMap((fixture) => [fixture, fixture])
    for (const { name, steps, end, exchanges } of turns)
      assert.deepEqual(play(steps, end, memory).summary(), exchanges, name)
  })

  for (const fixture of fixtures) {
    describe(fixture.name, () => {
      it('yields its exchanges and holds nothing afterwards', () => {
        const run = play(fixture.steps, fixture.end)
        assert.deepEqual(run.summary(), fixture.exchanges)
        assert.equal(run.heldBytes, 0)
        const { gaveUpBadHead, gaveUpFramingConflict, gaveUpLimit, gaveUpBadChunk, upgrades } = run.counters
        const stops = gaveUpBadHead + gaveUpFramingConflict + gaveUpLimit + gaveUpBadChunk + upgrades
        assert.equal(stops, fixture.stopped ? 1 : 0)
      })

      it('yields the same split at every byte, and byte by byte', () => {
        for (let place = 1; place < totalBytes(fixture.steps); place++) {
          const run = play(splitAt(fixture.steps, place), fixture.end)
          assert.deepEqual(run.summary(), fixture.exchanges, `split at ${place}`)
          assert.equal(run.heldBytes, 0)
        }
        const bytewise = fixture.steps.flatMap(([side, bytes]) =>
          Array.from(bytes, (byte): Step => [side, Uint8Array.of(byte)]),
        )
        assert.deepEqual(play(bytewise, fixture.end).summary(), fixture.exchanges)
      })

      it('never throws and leaves nothing behind when it ends early at any byte', () => {
        for (let length = 0; length < totalBytes(fixture.steps); length++) {
          let left = length
          const steps = fixture.steps.map(([side, bytes]): Step => {
            const taken = bytes.subarray(0, Math.max(0, left))
            left -= bytes.length
            return [side, taken]
          })
          const run = play(steps, 'capture_ended')
          assert.equal(run.heldBytes, 0)
          assert.ok(run.exchanges.length <= fixture.exchanges.length)
          run.summary().forEach((exchange, index) => {
            assert.equal(exchange.method, fixture.exchanges[index]?.method)
          })
        }
      })

      it('finds its way back when any one byte is lost', () => {
        const after: Step[] = [
          ['request', Buffer.from('GET /after HTTP/1.1\r\n\r\n')],
          ['response', Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')],
        ]
        const goesOn = isAfter(play([...fixture.steps, ...after], 'capture_ended'))
        const endsWithResponse = fixture.steps.at(-1)?.[0] === 'response'
        for (let lost = 0; lost < totalBytes(fixture.steps); lost++) {
          const run = new ParserRun(MAX_BODY_BYTES)
          let left = lost
          for (const [side, bytes] of fixture.steps) {
            if (left >= 0 && left < bytes.length) {
              run.push(side, bytes.subarray(0, left))
              run.parser.gap(side, 1, 2n)
              run.push(side, bytes.subarray(left + 1))
            } else run.push(side, bytes)
            left -= bytes.length
          }
          for (const [side, bytes] of after) run.push(side, bytes)
          run.parser.end(9n, 'capture_ended')
          assert.equal(run.heldBytes, 0, `lost byte ${lost}`)
          for (const exchange of run.exchanges) {
            assert.equal(exchange.completeness === 'gap', exchange.bytesLost > 0, `lost byte ${lost}`)
          }
          if (goesOn && endsWithResponse) assert.ok(isAfter(run), `lost byte ${lost}`)
        }
      })
    })
  }
})
