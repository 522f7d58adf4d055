/** TailEvents: what was stored since the token, from ClickHouse; then what is stored, from memory. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Status } from 'nice-grpc'
import { rpcError } from '../../common/grpc-error.js'
import type { TailEventsRequest, TailEventsResponse } from '../../gen/cleartap/pulse/v1/query.js'
import type { ClickHouse } from './clickhouse/client.js'
import { hasRegex, invalid, Parameters, type Predicate, readFilter, toSql } from './filter.js'
import { ask, scopeSql } from './statements.js'
import { type Position, requestFromRow, requestSelect, type StoredRequest } from './tables/requests.js'
import type { FeedItem, TailFeed } from './tail-feed.js'
import type { TokenSigner } from './tokens.js'

export interface TailOptions {
  readonly clickhouse: ClickHouse
  readonly database: string
  readonly org: string
  readonly tokens: TokenSigner
  readonly feed: TailFeed
}

const DEFAULT_EVENTS_PER_SECOND = 1000
const MAX_READERS = 100
const HEARTBEAT_MS = 5_000
const REPLAY_PAGE = 1000
const PURPOSE = 'tail'

export class Tail {
  readonly #options: TailOptions

  constructor(options: TailOptions) {
    this.#options = options
  }

  /** Ends when the signal is aborted. onAccepted is called once nothing is wrong with the request. Throws RpcError. */
  async *follow(
    request: TailEventsRequest,
    signal: AbortSignal,
    onAccepted: () => void,
  ): AsyncGenerator<TailEventsResponse, void> {
    const filter = readFilter(request.filter)
    if (hasRegex(filter))
      throw invalid('filter', 'MATCHES is not for tails; there are EQ, PREFIX and CONTAINS')
    if (this.#options.feed.readers >= MAX_READERS) {
      throw rpcError(Status.RESOURCE_EXHAUSTED, 'TOO_MANY_TAILS', `${MAX_READERS} tails are open already`)
    }
    const perSecond = request.maxEventsPerSecond || DEFAULT_EVENTS_PER_SECOND
    let after = request.resumeToken === '' ? undefined : this.#readToken(request.resumeToken)
    // Else the reader would not know before the first item that the tail is open.
    onAccepted()
    if (after) after = yield* this.#replay(filter, after, undefined, perSecond, signal)
    const subscription = this.#options.feed.subscribe(filter, perSecond)
    try {
      // What was committed between the replay's last page and the subscription.
      if (after) yield* this.#replay(filter, after, this.#options.feed.position, perSecond, signal)
      while (!signal.aborted) yield this.#response(await subscription.take(HEARTBEAT_MS, signal))
    } finally {
      subscription.close()
    }
  }

  /** Pages through what is stored after a position; returns the last position seen. */
  async *#replay(
    filter: Predicate,
    from: Position,
    until: Position | undefined,
    perSecond: number,
    signal: AbortSignal,
  ): AsyncGenerator<TailEventsResponse, Position> {
    let after = from
    for (;;) {
      const page = await this.#storedAfter(filter, after, until, signal)
      const startedAt = performance.now()
      for (const stored of page) {
        yield this.#response({ kind: 'request', stored })
        after = stored.position
      }
      if (page.length < REPLAY_PAGE) return after
      const dueMs = (page.length / perSecond) * 1000 - (performance.now() - startedAt)
      if (dueMs > 0) await sleep(dueMs, undefined, { signal })
    }
  }

  async #storedAfter(
    filter: Predicate,
    after: Position,
    until: Position | undefined,
    signal: AbortSignal,
  ): Promise<StoredRequest[]> {
    const parameters = new Parameters()
    const micros = (value: bigint) =>
      `fromUnixTimestamp64Micro(${parameters.add('Int64', value.toString())}, 'UTC')`
    const position = `(${micros(after.ingestedAtMicros)}, toFixedString(unhex(${parameters.add('String', after.streamId)}), 16), ${parameters.add('UInt64', after.sequence.toString())}, ${parameters.add('UInt32', after.batchIndex)})`
    const conditions = [
      ...scopeSql(this.#options.org, { start: undefined, end: undefined }, parameters),
      `ingested_at >= ${micros(after.ingestedAtMicros)}`,
      `(ingested_at, stream_id, seq, batch_index) > ${position}`,
      toSql(filter, parameters),
      ...(until ? [`ingested_at <= ${micros(until.ingestedAtMicros)}`] : []),
    ]
    const sql = `SELECT ${requestSelect.join(', ')} FROM ${this.#options.database}.requests WHERE ${conditions.join(' AND ')} ORDER BY ingested_at, stream_id, seq, batch_index LIMIT ${REPLAY_PAGE}`
    const { rows } = await ask(this.#options.clickhouse, sql, parameters, { signal })
    return rows.map(requestFromRow)
  }

  #response(item: FeedItem): TailEventsResponse {
    switch (item.kind) {
      case 'request':
        return {
          item: { $case: 'request', value: item.stored.request },
          resumeToken: this.#token(item.stored.position),
        }
      case 'dropped':
        return {
          item: { $case: 'dropped', value: { count: item.count } },
          resumeToken: this.#token(item.after),
        }
      case 'idle':
        return { item: { $case: 'heartbeat', value: {} }, resumeToken: this.#token(item.position) }
    }
  }

  #token(position: Position): string {
    const { ingestedAtMicros, streamId, sequence, batchIndex } = position
    return this.#options.tokens.sign(PURPOSE, `${ingestedAtMicros}.${streamId}.${sequence}.${batchIndex}`)
  }

  #readToken(token: string): Position {
    const [ingestedAt = '', streamId = '', sequence = '', batchIndex = ''] = this.#options.tokens
      .open(PURPOSE, token, 'resume_token')
      .split('.')
    return {
      ingestedAtMicros: BigInt(ingestedAt),
      streamId,
      sequence: BigInt(sequence),
      batchIndex: Number(batchIndex),
    }
  }
}
