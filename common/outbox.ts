/** A bounded queue between code that has messages to send and the one stream that sends them. */

export class Outbox<T> implements AsyncIterable<T> {
  readonly #items: T[] = []
  readonly #maxItems: number
  #state: 'open' | 'ended' | 'failed' = 'open'
  #error: unknown
  #wake: (() => void) | undefined

  /** @param maxItems messages that may wait; one more and `push` refuses. */
  constructor(maxItems: number) {
    this.#maxItems = maxItems
  }

  /** False if the queue is full or ended: the message was not taken. */
  push(item: T): boolean {
    if (this.#state !== 'open' || this.#items.length >= this.#maxItems) return false
    this.#items.push(item)
    this.#wakeReader()
    return true
  }

  /** What is queued is still delivered; then the stream ends. Later calls have no effect. */
  end(): void {
    if (this.#state === 'open') this.#state = 'ended'
    this.#wakeReader()
  }

  /** The stream fails with the error at once. Later calls have no effect. */
  fail(error: unknown): void {
    if (this.#state === 'open') {
      this.#state = 'failed'
      this.#error = error
      this.#items.length = 0
    }
    this.#wakeReader()
  }

  /** Takes what waits now, without waiting for more. Throws the error of a failed stream. */
  takeQueued(): T[] {
    if (this.#state === 'failed') throw this.#error
    return this.#items.splice(0)
  }

  /** For one reader. A reader that stops early ends the queue. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      while (true) {
        const item = this.#items.shift()
        if (item !== undefined) yield item
        else if (this.#state === 'failed') throw this.#error
        else if (this.#state === 'ended') return
        else await this.#change()
      }
    } finally {
      this.end()
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #wakeReader(): void {
    this.#wake?.()
    this.#wake = undefined
  }
}
