/** Which revision one connected agent is offered, and what its answers mean. No input or output: rules only. */
import type { VersionRef } from '../store/agents.js'
import type { Revision } from '../store/revisions.js'

export interface Offer {
  readonly nonce: string
  readonly revision: Revision
}

/** What is known of the agent when it connects. */
export interface OfferStart {
  readonly running: VersionRef
  /** Versions that the agent refused and that nobody asked to retry. */
  readonly refused: readonly number[]
}

/**
 * At most one offer is unanswered. An answer is matched by nonce alone. What the agent refused is not offered
 * again until it is allowed; what it answered in this session is not offered twice.
 */
export class Offers {
  #running: VersionRef
  #pending: Offer | undefined
  readonly #refused: Set<number>
  #answeredVersion = 0

  constructor(start: OfferStart) {
    this.#running = start.running
    this.#refused = new Set(start.refused)
  }

  get pending(): Offer | undefined {
    return this.#pending
  }

  /** Why the revision would be offered now, or not. */
  decide(desired: Revision | undefined): 'offer' | 'wait' | 'none' | 'running' | 'refused' | 'ahead' {
    if (this.#pending !== undefined) return 'wait'
    if (desired === undefined) return 'none'
    const { version, sha256 } = this.#running
    if (desired.version === version && desired.sha256 === sha256) return 'running'
    if (desired.version <= version) return 'ahead'
    if (this.#refused.has(desired.version) || desired.version === this.#answeredVersion) return 'refused'
    return 'offer'
  }

  /** Notes the revision as offered under the nonce. Only after `decide` said 'offer'. */
  begin(revision: Revision, nonce: string): Offer {
    const offer: Offer = { nonce, revision }
    this.#pending = offer
    return offer
  }

  /** The offer that the nonce answers; undefined if it is not the one waited for. */
  answer(nonce: string, refused: boolean): Offer | undefined {
    const offer = this.#pending
    if (offer === undefined || offer.nonce !== nonce) return undefined
    this.#pending = undefined
    this.#answeredVersion = offer.revision.version
    if (refused) this.#refused.add(offer.revision.version)
    return offer
  }

  /** What the agent says it runs. */
  setRunning(running: VersionRef): void {
    this.#running = running
  }

  /** Lets a refused version be offered again. */
  allow(version: number): void {
    this.#refused.delete(version)
    if (this.#answeredVersion === version) this.#answeredVersion = 0
  }
}
