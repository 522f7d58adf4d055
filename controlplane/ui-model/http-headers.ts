/** The HTTP_HEADERS object: start lines and headers of both messages, as the agent stored them. */

export type Header = readonly [name: string, value: string]

export interface MessageHead {
  /** As sent, without CRLF. */
  readonly line: string
  /** In order, names as sent. */
  readonly headers: readonly Header[]
}

export interface HttpHeads {
  readonly request: MessageHead
  /** Absent if no response was seen. */
  readonly response: MessageHead | undefined
}

/** Reads the object's text. Throws with what is wrong if it does not have the shape of HTTP_HEADERS. */
export function parseHttpHeads(json: string): HttpHeads {
  const value: unknown = JSON.parse(json)
  const request = parseHead(property(value, 'request'), 'request')
  if (request === undefined) throw new Error('the header object has no "request"')
  return { request, response: parseHead(property(value, 'response'), 'response') }
}

function parseHead(value: unknown, where: string): MessageHead | undefined {
  if (value === undefined || value === null) return undefined
  const line = property(value, 'line')
  const headers = property(value, 'headers')
  if (typeof line !== 'string') throw new Error(`"${where}.line" of the header object is not text`)
  if (!Array.isArray(headers)) throw new Error(`"${where}.headers" of the header object is not a list`)
  return { line, headers: headers.map((header: unknown) => parseHeader(header, where)) }
}

function parseHeader(value: unknown, where: string): Header {
  if (Array.isArray(value) && typeof value[0] === 'string' && typeof value[1] === 'string') {
    return [value[0], value[1]]
  }
  throw new Error(`"${where}.headers" of the header object holds something that is not [name, value]`)
}

function property(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return Object.getOwnPropertyDescriptor(value, name)?.value
}

/** The first value of a header, names compared without case; undefined if there is none. */
export function headerValue(head: MessageHead | undefined, name: string): string | undefined {
  return head?.headers.find(([key]) => key.toLowerCase() === name)?.[1]
}
