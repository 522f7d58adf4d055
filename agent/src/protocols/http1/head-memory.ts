/** Heads seen of late: on one connection they repeat byte for byte, and comparing is cheaper than parsing. */
import type { Head } from './head.js'

/** Longer heads are not remembered. */
const SLOT_BYTES = 1024
const SLOTS = 512

/** A head as it was parsed before; the same object each time. */
export interface RememberedHead {
  readonly head: Head
  readonly bytes: number
}

/** Half a MiB for all connections together. More than 512 readers share slots and displace each other's heads. */
export class HeadMemory {
  readonly #bytes = new Uint8Array(SLOTS * SLOT_BYTES)
  readonly #heads: (RememberedHead | undefined)[] = new Array(SLOTS).fill(undefined)
  #nextSlot = 0

  /** A slot for one reader. */
  takeSlot(): number {
    const slot = this.#nextSlot
    this.#nextSlot = (slot + 1) % SLOTS
    return slot
  }

  /** The head that begins at `from`, if it is the slot's. A head contains no end of a head before its own. */
  find(slot: number, bytes: Uint8Array, from: number): RememberedHead | undefined {
    const known = this.#heads[slot]
    if (known === undefined || bytes.length - from < known.bytes) return undefined
    const memory = this.#bytes
    let at = slot * SLOT_BYTES
    const end = from + known.bytes
    for (let place = from; place < end; place++) {
      if (bytes[place] !== memory[at++]) return undefined
    }
    return known
  }

  /** Takes the place of the slot's head before. */
  remember(slot: number, head: Head, bytes: Uint8Array, from: number, to: number): void {
    if (to - from > SLOT_BYTES) return
    let at = slot * SLOT_BYTES
    for (let place = from; place < to; place++) this.#bytes[at++] = bytes[place] ?? 0
    this.#heads[slot] = { head, bytes: to - from }
  }
}
