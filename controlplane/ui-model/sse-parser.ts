/** Server-sent events out of text (WHATWG HTML, section 9.2.6), for a reader that sends its own headers. */

export interface SseMessage {
  /** "message" if the server named none. */
  readonly event: string
  readonly data: string
  /** The last id seen; "" if there was none. */
  readonly id: string
}

/** Parses pieces of a stream as they come. Holds at most maxEventChars of an unfinished event. */
export class SseParser {
  readonly #maxEventChars: number
  #rest = ''
  #event = ''
  #data: string[] = []
  #dataChars = 0
  #id = ''

  constructor(maxEventChars: number) {
    this.#maxEventChars = maxEventChars
  }

  /** The events that this piece completes. Throws a RangeError if one event is longer than the limit. */
  push(piece: string): readonly SseMessage[] {
    const text = this.#rest + piece
    const messages: SseMessage[] = []
    let start = 0
    for (let end = lineEnd(text, start); end !== undefined; end = lineEnd(text, start)) {
      const message = this.#line(text.slice(start, end.index))
      if (message !== undefined) messages.push(message)
      start = end.next
    }
    this.#rest = text.slice(start)
    if (this.#rest.length + this.#dataChars > this.#maxEventChars) {
      throw new RangeError(`an event of the stream is longer than ${this.#maxEventChars} characters`)
    }
    return messages
  }

  #line(line: string): SseMessage | undefined {
    if (line === '') return this.#dispatch()
    const colon = line.indexOf(':')
    if (colon === 0) return undefined
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (field === 'event') this.#event = value
    else if (field === 'id' && !value.includes('\0')) this.#id = value
    else if (field === 'data') {
      this.#data.push(value)
      this.#dataChars += value.length
    }
    return undefined
  }

  #dispatch(): SseMessage | undefined {
    const message = { event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id }
    const empty = this.#data.length === 0
    this.#event = ''
    this.#data = []
    this.#dataChars = 0
    return empty ? undefined : message
  }
}

/** The next line end; a CR at the very end waits, as an LF may follow. */
function lineEnd(text: string, from: number): { index: number; next: number } | undefined {
  for (let i = from; i < text.length; i += 1) {
    const char = text[i]
    if (char === '\n') return { index: i, next: i + 1 }
    if (char === '\r' && i + 1 < text.length) return { index: i, next: text[i + 1] === '\n' ? i + 2 : i + 1 }
  }
  return undefined
}
