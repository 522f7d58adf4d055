/** Keeps the live tail open: reads it, notices silence, reconnects where it stopped. */
import { Dropped, Request } from '../../../gen/cleartap/pulse/v1/query.js'
import type { RequestFilter } from '../../ui-model/filter.js'
import { problemDetail, reasonOf } from '../../ui-model/problem.js'
import { type SseMessage, SseParser } from '../../ui-model/sse-parser.js'
import { openTail, TailRefused } from './api.js'

export type TailState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  | { readonly kind: 'waiting'; readonly reason: string; readonly retryAtMs: number }
  /** The control plane will not take this filter: no use in trying again. */
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'closed' }

export interface TailListener {
  onState(state: TailState): void
  onRequests(requests: readonly Request[]): void
  /** Events that matched but were not sent to this page. */
  onMissed(count: bigint): void
  /** The tail starts anew: what was stored since the last event will not come by it. */
  onRestart(): void
}

const MAX_EVENT_CHARS = 1024 * 1024
const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 15_000
/** Longer than any heartbeat interval of the server: then the connection is dead. */
const MAX_SILENCE_MS = 60_000

/** Follows the tail until the signal aborts. */
export async function followTail(
  filter: RequestFilter,
  listener: TailListener,
  signal: AbortSignal,
): Promise<void> {
  const position = { resumeToken: '' }
  let retryMs = FIRST_RETRY_MS
  while (!signal.aborted) {
    listener.onState({ kind: 'connecting' })
    const attempt = await followOnce(filter, listener, position, signal)
    if (signal.aborted) break
    if (attempt.isFinal) {
      listener.onState({ kind: 'refused', reason: attempt.reason })
      return
    }
    retryMs = attempt.wasLive ? FIRST_RETRY_MS : Math.min(LAST_RETRY_MS, retryMs * 2)
    const waitMs = retryMs * (0.75 + Math.random() / 2)
    listener.onState({ kind: 'waiting', reason: attempt.reason, retryAtMs: Date.now() + waitMs })
    await sleep(waitMs, signal)
  }
  listener.onState({ kind: 'closed' })
}

interface Attempt {
  readonly wasLive: boolean
  readonly reason: string
  readonly isFinal: boolean
}

async function followOnce(
  filter: RequestFilter,
  listener: TailListener,
  position: { resumeToken: string },
  signal: AbortSignal,
): Promise<Attempt> {
  const connection = new AbortController()
  const ended = AbortSignal.any([signal, connection.signal])
  let wasLive = false
  try {
    const stream = await openTail(filter, position.resumeToken, ended)
    wasLive = true
    listener.onState({ kind: 'live' })
    if (position.resumeToken === '') listener.onRestart()
    await readTail(stream, listener, position, connection)
    return { wasLive, reason: 'The control plane ended the live tail.', isFinal: false }
  } catch (error) {
    const isRefused = error instanceof TailRefused && error.status >= 400 && error.status < 500
    const isFinal = isRefused && error.status === 400 && position.resumeToken === ''
    if (isRefused) position.resumeToken = ''
    const reason = wasLive ? `The live tail broke off: ${reasonOf(error)}` : reasonOf(error)
    return { wasLive, reason, isFinal }
  }
}

async function readTail(
  stream: ReadableStream<Uint8Array>,
  listener: TailListener,
  position: { resumeToken: string },
  connection: AbortController,
): Promise<void> {
  const parser = new SseParser(MAX_EVENT_CHARS)
  const decoder = new TextDecoder()
  const silence = () =>
    setTimeout(() => connection.abort(new Error('nothing was heard for a minute')), MAX_SILENCE_MS)
  let watchdog = silence()
  const reader = stream.getReader()
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      clearTimeout(watchdog)
      watchdog = silence()
      takeMessages(parser.push(decoder.decode(piece.value, { stream: true })), listener, position)
    }
  } finally {
    clearTimeout(watchdog)
    connection.abort()
  }
}

function takeMessages(
  messages: readonly SseMessage[],
  listener: TailListener,
  position: { resumeToken: string },
): void {
  const requests: Request[] = []
  for (const message of messages) {
    if (message.event === 'problem') throw refusalOf(message.data)
    if (message.event === 'request') requests.push(Request.fromJSON(JSON.parse(message.data)))
    else if (message.event === 'dropped') {
      listener.onMissed(Dropped.fromJSON(JSON.parse(message.data)).count)
    }
    if (message.id !== '') position.resumeToken = message.id
  }
  if (requests.length > 0) listener.onRequests(requests)
}

/** The reason why the control plane ends a stream that it had opened. */
function refusalOf(problem: string): TailRefused {
  const { status } = JSON.parse(problem)
  return new TailRefused(
    problemDetail(problem) ?? 'the control plane has trouble',
    typeof status === 'number' ? status : 0,
  )
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
