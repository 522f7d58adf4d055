/**
 * What is left out when a store is behind. With the limit L (max_queue_age_ms), by the age of the oldest object
 * that still waits to be written:
 *
 * - above L: new bodies are refused,
 * - above 2 L: new header objects, which are small, are refused too,
 * - and no event waits longer than 2 L for its objects: then it names those that are still under way.
 *
 * The age falls by itself as the store catches up, and then everything is taken again. Age is taken rather than
 * an estimate from recent rates, since a burst that the store gets through is nothing to lose objects for.
 */

export type ObjectRole = 'headers' | 'body'

export interface BacklogLimits {
  /** Of objects waiting or being written, each with what it costs besides. */
  readonly maxQueueBytes: number
  readonly maxQueueAgeMs: number
}

export interface Backlog {
  readonly queuedBytes: number
  /** Of the oldest object whose write has not begun; 0 if none waits. */
  readonly oldestWaitingMs: number
}

export type RefusalReason = 'queue_full' | 'behind_body' | 'behind_headers' | 'closed'

const HEADERS_FACTOR = 2
const EVENT_FACTOR = 2

/** @returns Why an object that costs so many bytes is not taken; undefined if it is. */
export function refusalOf(
  role: ObjectRole,
  bytes: number,
  { queuedBytes, oldestWaitingMs }: Backlog,
  { maxQueueBytes, maxQueueAgeMs }: BacklogLimits,
): Exclude<RefusalReason, 'closed'> | undefined {
  if (queuedBytes + bytes > maxQueueBytes) return 'queue_full'
  switch (role) {
    case 'body':
      return oldestWaitingMs > maxQueueAgeMs ? 'behind_body' : undefined
    case 'headers':
      return oldestWaitingMs > HEADERS_FACTOR * maxQueueAgeMs ? 'behind_headers' : undefined
  }
}

/** How long an event may wait for an object. */
export function maxEventWaitMs({ maxQueueAgeMs }: BacklogLimits): number {
  return EVENT_FACTOR * maxQueueAgeMs
}
