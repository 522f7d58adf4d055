import assert from 'node:assert/strict'
import { ArtifactRef, Event, HttpRequest, Peer, Process } from '../../../gen/cleartap/event/v1/event.js'
import { JsonLines } from './json-line.js'

const PROCESS = Process.fromPartial({ pid: 42, comm: 'curl "x"' })
const PEER = Peer.fromPartial({ direction: 2, remoteAddress: Buffer.from([127, 0, 0, 1]), remotePort: 443 })

/** Something in each field: one that the message gains later is in it too. */
function everyField(seed: number): HttpRequest {
  const filled = Object.entries(HttpRequest.fromPartial({})).map(([name, empty]): [string, unknown] => {
    switch (typeof empty) {
      case 'string':
        return [name, `${name} ${seed} "\\\u0007\u2028\ud800\u00e9`]
      case 'number':
        return [name, seed % 4]
      case 'bigint':
        return [name, seed % 2 === 0 ? BigInt(seed) : 18_446_744_073_709_551_615n]
      default:
        return [name, Buffer.isBuffer(empty) ? Buffer.from(`${name}${seed}`) : empty]
    }
  })
  const artifacts = [ArtifactRef.fromPartial({ size: 5n, key: `v1/"${seed}"`, sha256: Buffer.alloc(32, 7) })]
  return { ...HttpRequest.fromPartial(Object.fromEntries(filled)), peer: PEER, artifacts }
}

function eventOf(value: HttpRequest): Event {
  return {
    eventId: Buffer.alloc(16, 3),
    timeUnixNano: 1_790_000_000_123_456_789n,
    process: 0,
    kind: { $case: 'httpRequest', value },
  }
}

function assertSame(lines: JsonLines, event: Event): void {
  const expected = { event: Event.toJSON(event), process: Process.toJSON(PROCESS) }
  assert.deepEqual(
    JSON.parse(lines.format({ event, process: PROCESS })),
    JSON.parse(JSON.stringify(expected)),
  )
}

describe('JsonLines', () => {
  it('has every field as proto JSON has it', () => {
    for (const seed of [1, 2, 3]) assertSame(new JsonLines(), eventOf(everyField(seed)))
  })

  it('leaves out what is not set', () => {
    assertSame(new JsonLines(), eventOf(HttpRequest.fromPartial({})))
    assertSame(new JsonLines(), eventOf(HttpRequest.fromPartial({ peer: PEER })))
    assertSame(new JsonLines(), eventOf(HttpRequest.fromPartial({ bytesLost: 1n })))
  })

  it('takes nothing over from the event before, whichever field differs', () => {
    const lines = new JsonLines()
    const base = everyField(1)
    const other = everyField(2)
    for (const name of Object.keys(base)) {
      assertSame(lines, eventOf(base))
      assertSame(lines, eventOf({ ...base, [name]: Reflect.get(other, name) }))
    }
  })

  it('writes other events than exchanges', () => {
    const value = { connectionId: Buffer.alloc(16, 1), peer: PEER, part: 1, exchanges: 3 }
    assertSame(new JsonLines(), Event.fromPartial({ kind: { $case: 'connection', value } }))
  })
})
