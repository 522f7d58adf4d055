/** Damages recorded conversations at random and checks what must hold for any bytes. */
import assert from 'node:assert/strict'
import type { Side } from '../protocol.js'
import { type Fixture, ParserRun, type Step } from './fixtures.js'

const MAX_BODY_BYTES = 64
const MAX_HELD_BYTES = 300_000

/** A generator of whole numbers below a bound, always the same for the same seed (xorshift32). */
export type Dice = (below: number) => number

export function createDice(seed: number): Dice {
  let state = (seed | 0) === 0 ? 1 : seed | 0
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

/** Runs one damaged conversation. Throws if the parser does, or breaks one of its promises. */
export function fuzzOnce(fixtures: readonly Fixture[], seed: number): void {
  const dice = createDice(seed)
  const run = new ParserRun(MAX_BODY_BYTES, MAX_HELD_BYTES)
  const conversations = 1 + dice(3)
  for (let count = 0; count < conversations; count++) {
    const fixture = fixtures[dice(fixtures.length)]
    for (const [side, bytes] of fixture?.steps ?? [])
      pushDamaged(run, dice, side, damaged(bytes, dice, fixtures))
    assert.ok(run.heldBytes >= 0 && run.heldBytes <= MAX_HELD_BYTES)
  }
  if (dice(10) === 0) run.parser.dropBodies()
  run.parser.end(3n, dice(2) === 0 ? 'closed' : 'capture_ended')
  assert.equal(run.heldBytes, 0, 'holds memory after the end')
  for (const { request, response, completeness, bytesLost } of run.exchanges) {
    assert.equal(completeness === 'gap', bytesLost > 0)
    for (const body of [request.body, response?.body]) {
      const kept = body?.chunks.reduce((sum, chunk) => sum + chunk.length, 0) ?? 0
      assert.ok(kept <= MAX_BODY_BYTES && kept <= (body?.size ?? 0))
      assert.ok(kept === (body?.size ?? 0) || body?.truncated === true)
    }
  }
}

function pushDamaged(run: ParserRun, dice: Dice, side: Side, bytes: Uint8Array): void {
  let at = 0
  while (at < bytes.length) {
    const end = Math.min(bytes.length, at + 1 + dice(dice(3) === 0 ? 4 : 200))
    if (dice(40) === 0) run.parser.gap(side, dice(5) === 0 ? 2 ** 40 : end - at, 2n)
    else run.push(dice(60) === 0 ? 'response' : side, bytes.subarray(at, end))
    at = end
  }
}

function damaged(bytes: Uint8Array, dice: Dice, fixtures: readonly Fixture[]): Uint8Array {
  let result = Buffer.from(bytes)
  for (let damages = dice(4); damages > 0; damages--) {
    const from = dice(result.length + 1)
    const to = Math.min(result.length, from + dice(20))
    const [before, middle, after] = [result.subarray(0, from), result.subarray(from, to), result.subarray(to)]
    result = Buffer.concat([before, replacement(middle, dice, fixtures), after])
  }
  return result
}

function replacement(piece: Uint8Array, dice: Dice, fixtures: readonly Fixture[]): Uint8Array {
  switch (dice(5)) {
    case 0:
      return new Uint8Array(0)
    case 1:
      return Buffer.concat([piece, piece])
    case 2:
      return piece.map((byte) => byte ^ (1 << dice(8)))
    case 3:
      return Uint8Array.from({ length: dice(30) }, () => dice(256))
    default: {
      const steps: readonly Step[] = fixtures[dice(fixtures.length)]?.steps ?? []
      return steps[dice(steps.length)]?.[1].subarray(0, dice(80)) ?? piece
    }
  }
}
