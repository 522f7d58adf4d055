/** All connections by their stream, bounded in number and in bytes. */
import { LRUCache } from 'lru-cache'
import type { BpfEvent, ProcessKey } from '../bpf/events.js'
import type { ConnectionPart } from '../exchange/connection-part.js'
import type { Exchange, ProcessInfo } from '../exchange/exchange.js'
import { IdMaker } from '../exchange/id-maker.js'
import { createProtocols, type EndReason, type Protocol } from '../protocols/index.js'
import { BootClock } from './boot-clock.js'
import { Budget } from './budget.js'
import { Connection, type ConnectionSurroundings } from './connection.js'

/** How often an active connection is reported. */
const PART_INTERVAL_NS = 10_000_000_000n

export interface ConnectionTableOptions {
  /** AgentConfig.max_connections. */
  readonly maxConnections: number
  /** AgentConfig.max_buffered_bytes. */
  readonly maxBufferedBytes: number
  /** CaptureConfig.max_body_bytes, or 0 where bodies are not wanted; see setMaxBodyBytes. */
  readonly maxBodyBytes: number
  processOf(key: ProcessKey): ProcessInfo
  /** Name of the TLS library of a stream, such as "openssl"; empty if unknown. */
  libraryOf(streamId: bigint): string
  onExchange(exchange: Exchange): void
  onConnectionPart(part: ConnectionPart): void
  readonly clock?: BootClock
}

/** Totals since the start; open and buffered* as of now. */
export interface ConnectionStats {
  readonly open: number
  readonly opened: number
  readonly closed: number
  /** Ended because the table was full. */
  readonly evicted: number
  readonly exchanges: number
  readonly bytesSeen: number
  readonly bytesLost: number
  readonly duplicateBytes: number
  readonly bufferedBytes: number
  /** Body bytes let go, and requests for memory refused, because the budget was spent. */
  readonly droppedBodyBytes: number
  readonly budgetRefusals: number
  /** Counters of each protocol by its name. */
  readonly protocols: Readonly<Record<string, Readonly<Record<string, number>>>>
}

export class ConnectionTable {
  readonly #options: ConnectionTableOptions
  readonly #clock: BootClock
  readonly #budget: Budget
  readonly #protocols: readonly Protocol[] = createProtocols()
  readonly #connections: LRUCache<bigint, Connection>
  readonly #byProcess = new Map<string, Set<Connection>>()
  readonly #around: ConnectionSurroundings & { maxBodyBytes: number }
  #opened = 0
  #closed = 0
  #evicted = 0
  #exchanges = 0
  #bytesSeen = 0
  #bytesLost = 0
  #duplicateBytes = 0

  constructor(options: ConnectionTableOptions) {
    this.#options = options
    this.#clock = options.clock ?? new BootClock()
    this.#budget = new Budget(options.maxBufferedBytes)
    this.#around = {
      protocols: this.#protocols,
      budget: this.#budget,
      ids: new IdMaker(),
      maxBodyBytes: options.maxBodyBytes,
      processOf: (key) => options.processOf(key),
      libraryOf: (streamId) => options.libraryOf(streamId),
      onExchange: (exchange) => {
        this.#exchanges++
        options.onExchange(exchange)
      },
    }
    this.#connections = new LRUCache({
      max: options.maxConnections,
      dispose: (connection, _id, reason) => {
        if (reason === 'evict') this.#evict(connection)
      },
    })
  }

  /** Takes an event from the kernel. Never throws on what a process has sent or received. */
  onEvent(event: BpfEvent): void {
    switch (event.kind) {
      case 'data': {
        this.#bytesSeen += event.bytes.length
        const timeNs = this.#clock.toEpochNs(event.timeNs)
        const connection = this.#connection(event.streamId, event.process, timeNs)
        connection.data(event.direction, Number(event.offset), event.bytes, timeNs)
        break
      }
      case 'loss': {
        const bytes = Number(event.bytes)
        this.#bytesLost += bytes
        const timeNs = this.#clock.toEpochNs(event.timeNs)
        const connection = this.#connection(event.streamId, event.process, timeNs)
        connection.loss(event.direction, Number(event.offset), bytes, timeNs)
        break
      }
      case 'socket': {
        const timeNs = this.#clock.toEpochNs(event.timeNs)
        this.#connection(event.streamId, event.process, timeNs).socket(event)
        break
      }
      case 'close': {
        const connection = this.#connections.peek(event.streamId)
        if (connection !== undefined) this.#close(connection, this.#clock.toEpochNs(event.timeNs), 'closed')
        break
      }
      case 'exec':
      case 'exit':
        this.#closeAllOf(event.process, this.#clock.toEpochNs(event.timeNs))
        break
      case 'fork':
        break
    }
  }

  /** To be called about once a second: reports long connections, lets go of what waits in vain. */
  tick(nowNs: bigint): void {
    this.#clock.refresh()
    for (const connection of this.#connections.values()) {
      connection.flush()
      if (!connection.isActive || nowNs - connection.partStartNs < PART_INTERVAL_NS) continue
      this.#options.onConnectionPart(connection.takePart(nowNs, false))
    }
  }

  /** Ends every connection, as at the end of capture. */
  closeAll(): void {
    const nowNs = this.#clock.toEpochNs(this.#clock.nowBoottimeNs())
    for (const connection of [...this.#connections.values()]) this.#close(connection, nowNs, 'capture_ended')
  }

  /** Changes the limit for bodies that begin from now on. */
  setMaxBodyBytes(maxBodyBytes: number): void {
    this.#around.maxBodyBytes = maxBodyBytes
  }

  stats(): ConnectionStats {
    return {
      open: this.#connections.size,
      opened: this.#opened,
      closed: this.#closed,
      evicted: this.#evicted,
      exchanges: this.#exchanges,
      bytesSeen: this.#bytesSeen,
      bytesLost: this.#bytesLost,
      duplicateBytes: this.#duplicateBytes,
      bufferedBytes: this.#budget.usedBytes,
      droppedBodyBytes: this.#budget.droppedBodyBytes,
      budgetRefusals: this.#budget.refusals,
      protocols: Object.fromEntries(this.#protocols.map((protocol) => [protocol.name, protocol.stats()])),
    }
  }

  #connection(streamId: bigint, process: ProcessKey, timeNs: bigint): Connection {
    const known = this.#connections.get(streamId)
    if (known !== undefined) return known
    const connection = new Connection(streamId, process, timeNs, this.#around)
    this.#opened++
    const key = keyOf(process)
    const siblings = this.#byProcess.get(key)
    if (siblings === undefined) this.#byProcess.set(key, new Set([connection]))
    else siblings.add(connection)
    this.#connections.set(streamId, connection)
    return connection
  }

  #closeAllOf(process: ProcessKey, timeNs: bigint): void {
    for (const connection of [...(this.#byProcess.get(keyOf(process)) ?? [])]) {
      this.#close(connection, timeNs, 'closed')
    }
  }

  #close(connection: Connection, timeNs: bigint, reason: EndReason): void {
    this.#connections.delete(connection.streamId)
    this.#closed++
    this.#finish(connection, timeNs, reason)
  }

  #evict(connection: Connection): void {
    this.#evicted++
    this.#finish(connection, connection.lastSeenNs, 'evicted')
  }

  #finish(connection: Connection, timeNs: bigint, reason: EndReason): void {
    const key = keyOf(connection.process)
    const siblings = this.#byProcess.get(key)
    siblings?.delete(connection)
    if (siblings?.size === 0) this.#byProcess.delete(key)
    connection.end(timeNs, reason)
    this.#duplicateBytes += connection.duplicateBytes
    this.#options.onConnectionPart(connection.takePart(timeNs, true))
  }
}

function keyOf(process: ProcessKey): string {
  return `${process.pid}:${process.startNs}`
}
