/** All open sessions, and the latest revision that they offer. */
import type { Hello } from '../../../gen/cleartap/controlplane/v1/config.js'
import type { Revision } from '../store/revisions.js'
import { type SessionContext, SyncSession } from './session.js'

/** Streams at one time; 88 KB each were measured with TLS. */
const maxSessions = 10_000

export type SessionsOptions = Omit<SessionContext, 'latest'>

export class Sessions {
  readonly #context: SessionContext
  readonly #byAgent = new Map<string, SyncSession>()
  #latest: Revision | undefined
  #draining = false

  private constructor(options: SessionsOptions, latest: Revision | undefined) {
    this.#latest = latest
    this.#context = { ...options, latest: () => this.#latest }
  }

  static async create(options: SessionsOptions): Promise<Sessions> {
    return new Sessions(options, await options.store.revisions.latest())
  }

  /** Open streams. */
  get size(): number {
    return this.#byAgent.size
  }

  get latest(): Revision | undefined {
    return this.#latest
  }

  /** Why a new stream is not taken now; undefined if it is. */
  get refusal(): 'draining' | 'full' | undefined {
    if (this.#draining) return 'draining'
    return this.#byAgent.size >= maxSessions ? 'full' : undefined
  }

  /** Opens the agent's session; an earlier one of the same agent ends. */
  async open(hello: Hello, sequence: bigint): Promise<SyncSession> {
    const session = await SyncSession.open(this.#context, hello, sequence)
    this.#byAgent.get(session.agentId)?.supersede()
    this.#byAgent.set(session.agentId, session)
    if (this.#draining) session.drain(this.#context.options.reconnectMinMs)
    else await session.reconsider()
    return session
  }

  async close(session: SyncSession): Promise<void> {
    if (this.#byAgent.get(session.agentId) === session) this.#byAgent.delete(session.agentId)
    await session.close()
  }

  /** A revision was added: every agent is offered it. */
  async publish(revision: Revision): Promise<void> {
    if (this.#latest !== undefined && revision.version <= this.#latest.version) return
    this.#latest = revision
    await Promise.all([...this.#byAgent.values()].map((session) => session.reconsider()))
  }

  /** Offers the latest revision again to an agent that refused it, at once if it is connected. */
  async retry(agentId: string): Promise<void> {
    if (this.#latest !== undefined) await this.#byAgent.get(agentId)?.retry(this.#latest.version)
  }

  /** Takes no new stream and ends all, asking the agents to come back later. */
  drain(): void {
    this.#draining = true
    const { reconnectMinMs } = this.#context.options
    for (const session of this.#byAgent.values()) session.drain(reconnectMinMs)
  }
}
