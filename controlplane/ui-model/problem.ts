/** Why a call to the control plane failed, in words. */

/**
 * A sentence out of an answer that is not 2xx: the RFC 9457 problem if the body is one, else the bare status.
 * what is what was attempted, such as "The list of requests".
 */
export function problemSentence(what: string, status: number, body: string): string {
  return `${what} failed: ${problemDetail(body) ?? statusReason(status)} (HTTP ${status}).`
}

/** The detail, or else the title, of an RFC 9457 problem; undefined if the text is none. */
export function problemDetail(body: string): string | undefined {
  try {
    const value: unknown = JSON.parse(body)
    const own = (name: string) => Object.getOwnPropertyDescriptor(Object(value), name)?.value
    const text = [own('detail'), own('title')].find((part) => typeof part === 'string' && part !== '')
    return typeof text === 'string' ? text.replace(/\.$/, '') : undefined
  } catch {
    return undefined
  }
}

function statusReason(status: number): string {
  if (status === 401 || status === 403) return 'this is not allowed'
  if (status === 404) return 'it does not exist'
  if (status === 429) return 'too many calls'
  return status >= 500 ? 'the control plane has trouble' : 'the control plane refused the call'
}

/** The message of whatever was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
