/** UUIDv7 by the hundred thousand: random bytes are fetched from the system in blocks. */
import { randomFillSync } from 'node:crypto'
import { V7Generator } from 'uuidv7'

const BLOCK_WORDS = 4096
const ID_BYTES = 16

/** Ids of one maker rise. */
export class IdMaker {
  readonly #words = new Uint32Array(BLOCK_WORDS)
  #used = BLOCK_WORDS
  readonly #generator = new V7Generator({ nextUint32: () => this.#nextWord() })

  /** A UUIDv7, 16 bytes; from the pool of small buffers, so not for what lives long. */
  next(): Buffer {
    const id = Buffer.allocUnsafe(ID_BYTES)
    id.set(this.#generator.generate().bytes)
    return id
  }

  /** The same, with memory of its own. */
  nextLasting(): Buffer {
    const id = Buffer.allocUnsafeSlow(ID_BYTES)
    id.set(this.#generator.generate().bytes)
    return id
  }

  #nextWord(): number {
    if (this.#used === BLOCK_WORDS) {
      randomFillSync(this.#words)
      this.#used = 0
    }
    return this.#words[this.#used++] ?? 0
  }
}
