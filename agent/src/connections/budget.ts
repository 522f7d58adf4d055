/** The memory that unfinished exchanges of all connections may hold together. */

/** Holders asked for one request: the time that it takes stays bounded. */
const MAX_DROPS_AT_ONCE = 16

/** Who holds bytes and can let go of the part that matters least. */
export interface Holder {
  /** Kept by the budget: bytes held now. */
  heldBytes: number
  /** Frees kept bodies; returns bytes given back. They are given back through Budget.release as well. */
  dropBodies(): number
}

/**
 * When the budget is spent, the bodies of whoever has been holding for the longest go first; if that does not
 * make room, the request is refused.
 */
export class Budget {
  usedBytes = 0
  /** Bytes of bodies that were let go to make room. */
  droppedBodyBytes = 0
  /** Requests for memory that were refused. */
  refusals = 0
  readonly #maxBytes: number
  /** In the order in which they began to hold. */
  readonly #holders = new Set<Holder>()

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  hold(holder: Holder, bytes: number): boolean {
    if (this.usedBytes + bytes > this.#maxBytes && !this.#makeRoom(bytes)) {
      this.refusals++
      return false
    }
    this.usedBytes += bytes
    if (holder.heldBytes === 0) this.#holders.add(holder)
    holder.heldBytes += bytes
    return true
  }

  release(holder: Holder, bytes: number): void {
    if (bytes === 0) return
    this.usedBytes -= bytes
    holder.heldBytes -= bytes
    if (holder.heldBytes === 0) this.#holders.delete(holder)
  }

  #makeRoom(bytes: number): boolean {
    let asked = 0
    for (const holder of this.#holders) {
      if (++asked > MAX_DROPS_AT_ONCE) break
      this.droppedBodyBytes += holder.dropBodies()
      if (this.usedBytes + bytes <= this.#maxBytes) return true
      this.#moveToEnd(holder)
    }
    return false
  }

  /** What it still holds are heads: others are asked first next time. */
  #moveToEnd(holder: Holder): void {
    if (this.#holders.delete(holder)) this.#holders.add(holder)
  }
}
