/** ConfigService: the agents' streams, and the same by polling. */
import { type CallContext, Status } from 'nice-grpc'
import { uuidv7 } from 'uuidv7'
import { type RpcError, rpcError } from '../../../common/grpc-error.js'
import type { Logger } from '../../../common/log.js'
import type {
  ConfigServiceImplementation,
  FetchConfigRequest,
  SyncRequest,
  SyncResponse,
} from '../../../gen/cleartap/controlplane/v1/config.js'
import type { ControlStore } from '../store/store.js'
import { InvalidMessageError, parseAgentId, parseRef, toPush } from './agent-messages.js'
import type { SyncSession } from './session.js'
import type { Sessions } from './sessions.js'

/** How long a new stream may wait with its hello. */
const helloTimeoutMs = 10_000

export interface ConfigServiceOptions {
  readonly sessions: Sessions
  readonly store: ControlStore
  readonly log: Logger
  readonly reconnectMinMs: number
}

export function createConfigService(options: ConfigServiceOptions): ConfigServiceImplementation {
  return {
    sync: (requests, context) => sync(options, requests, context),
    fetchConfig: (request) => fetchConfig(options, request),
  }
}

async function* sync(
  options: ConfigServiceOptions,
  requests: AsyncIterable<SyncRequest>,
  context: CallContext,
): AsyncGenerator<SyncResponse, void, undefined> {
  const { sessions } = options
  refuseIfBusy(options)
  const reader = requests[Symbol.asyncIterator]()
  const session = await openSession(sessions, reader)
  const onAbort = () => session.responses.end()
  context.signal.addEventListener('abort', onAbort)
  // Not awaited: it ends with the call, which ends when this generator does.
  void readAll(session, reader, context, options.log)
  try {
    yield* session.responses
  } finally {
    context.signal.removeEventListener('abort', onAbort)
    await sessions.close(session)
  }
}

async function openSession(sessions: Sessions, reader: AsyncIterator<SyncRequest>) {
  const first = await nextWithin(reader, helloTimeoutMs)
  if (first === undefined) {
    throw rpcError(Status.DEADLINE_EXCEEDED, 'HELLO_MISSING', `no hello within ${helloTimeoutMs} ms`)
  }
  if (first.done === true || first.value.message?.$case !== 'hello') {
    const got = first.done === true ? 'the end of the stream' : (first.value.message?.$case ?? 'nothing')
    throw rpcError(Status.FAILED_PRECONDITION, 'HELLO_MISSING', `a stream begins with hello; got ${got}`)
  }
  try {
    return await sessions.open(first.value.message.value, first.value.sequence)
  } catch (error) {
    throw toRefusal(error) ?? error
  }
}

/** Undefined: the time ran out. */
async function nextWithin<T>(reader: AsyncIterator<T>, limitMs: number) {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), limitMs)
  })
  try {
    return await Promise.race([reader.next(), timeout])
  } finally {
    clearTimeout(timer)
  }
}

async function readAll(
  session: SyncSession,
  reader: AsyncIterator<SyncRequest>,
  context: CallContext,
  log: Logger,
): Promise<void> {
  try {
    for (let next = await reader.next(); next.done !== true; next = await reader.next()) {
      await session.receive(next.value)
    }
    session.responses.end()
  } catch (error) {
    const refusal = toRefusal(error)
    if (refusal === undefined && !context.signal.aborted) {
      log.error({ agent: session.agentId, error }, 'a session failed')
    }
    session.responses.fail(refusal ?? error)
  }
}

async function fetchConfig(options: ConfigServiceOptions, request: FetchConfigRequest) {
  refuseIfBusy(options)
  try {
    const agentId = parseAgentId(request.agentId)
    const running = parseRef(request.running, 'running') ?? { version: 0, sha256: '' }
    const revision = options.sessions.latest
    const agent = await options.store.agents.get(agentId)
    const isNew = revision !== undefined && revision.version > running.version
    if (!isNew || agent?.rejectedVersion === revision.version) return {}
    return { push: toPush({ nonce: uuidv7(), revision }) }
  } catch (error) {
    throw toRefusal(error) ?? error
  }
}

function refuseIfBusy({ sessions, reconnectMinMs }: ConfigServiceOptions): void {
  const retry = { retryDelayMs: reconnectMinMs }
  switch (sessions.refusal) {
    case undefined:
      return
    case 'draining':
      throw rpcError(Status.UNAVAILABLE, 'DRAINING', 'the server is shutting down', retry)
    case 'full': {
      const message = `${sessions.size} agents are connected; no more are taken`
      throw rpcError(Status.RESOURCE_EXHAUSTED, 'TOO_MANY_SESSIONS', message, retry)
    }
  }
}

function toRefusal(error: unknown): RpcError | undefined {
  if (!(error instanceof InvalidMessageError)) return undefined
  const badRequest = [{ field: error.field, description: error.message }]
  return rpcError(Status.INVALID_ARGUMENT, 'INVALID_MESSAGE', error.message, { badRequest })
}
