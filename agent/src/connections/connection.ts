/** One stream: its two directions, what protocol it speaks, and what is reported of it. */
import type { FlowDirection, ProcessKey, SocketEvent } from '../bpf/events.js'
import type { ConnectionPart } from '../exchange/connection-part.js'
import type { Exchange, Peer, ProcessInfo } from '../exchange/exchange.js'
import type { IdMaker } from '../exchange/id-maker.js'
import type {
  ConnectionFacts,
  EndReason,
  ParserHost,
  Protocol,
  ProtocolParser,
  Side,
} from '../protocols/index.js'
import type { Budget } from './budget.js'
import { ByteStream } from './byte-stream.js'

/** Bytes kept of a record that is too short to tell whether a request begins there. */
const MAX_DETECTION_BYTES = 32

const NO_ADDRESS = new Uint8Array(0)
const UNKNOWN_PEER: Peer = {
  confidence: 'unknown',
  role: 'unknown',
  localAddress: NO_ADDRESS,
  localPort: 0,
  remoteAddress: NO_ADDRESS,
  remotePort: 0,
}

/** What connections share. */
export interface ConnectionSurroundings {
  readonly protocols: readonly Protocol[]
  readonly budget: Budget
  readonly ids: IdMaker
  /** Longer bodies are cut; read at each body, so that it may change. */
  readonly maxBodyBytes: number
  processOf(key: ProcessKey): ProcessInfo
  libraryOf(streamId: bigint): string
  onExchange(exchange: Exchange): void
}

export class Connection implements ParserHost {
  /** UUIDv7, 16 bytes. */
  readonly id: Uint8Array
  readonly streamId: bigint
  readonly process: ProcessKey
  /** Unix epoch nanoseconds of the latest record. */
  lastSeenNs: bigint
  heldBytes = 0
  readonly #openedNs: bigint
  readonly #around: ConnectionSurroundings
  readonly #read: ByteStream
  readonly #write: ByteStream
  #peer: Peer = UNKNOWN_PEER
  #parser: ProtocolParser | undefined
  /** The direction that carries requests; known once a parser is. */
  #requestDirection: FlowDirection | undefined
  #lastDirection: FlowDirection | undefined
  /** The beginning of a record that may begin a request. */
  #undecided: Uint8Array | undefined
  #part = 0
  #partStartNs: bigint
  #bytesRead = 0
  #bytesWritten = 0
  #bytesLost = 0
  #exchanges = 0

  constructor(streamId: bigint, process: ProcessKey, openedNs: bigint, around: ConnectionSurroundings) {
    this.id = around.ids.nextLasting()
    this.streamId = streamId
    this.process = process
    this.lastSeenNs = openedNs
    this.#openedNs = openedNs
    this.#partStartNs = openedNs
    this.#around = around
    this.#read = new ByteStream({
      onBytes: (bytes, timeNs) => this.#onBytes('read', bytes, timeNs),
      onGap: (bytes, timeNs) => this.#onGap('read', bytes, timeNs),
    })
    this.#write = new ByteStream({
      onBytes: (bytes, timeNs) => this.#onBytes('write', bytes, timeNs),
      onGap: (bytes, timeNs) => this.#onGap('write', bytes, timeNs),
    })
  }

  get maxBodyBytes(): number {
    return this.#around.maxBodyBytes
  }

  /** True if something happened since the latest part. */
  get isActive(): boolean {
    return this.#part === 0 || this.#bytesRead + this.#bytesWritten + this.#bytesLost > 0
  }

  get partStartNs(): bigint {
    return this.#partStartNs
  }

  /** Bytes that came twice. */
  get duplicateBytes(): number {
    return this.#read.duplicateBytes + this.#write.duplicateBytes
  }

  /** A record; the view is valid only during the call. Times: Unix epoch nanoseconds. */
  data(direction: FlowDirection, offset: number, bytes: Uint8Array, timeNs: bigint): void {
    this.lastSeenNs = timeNs
    const stream = direction === 'read' ? this.#read : this.#write
    stream.data(offset, bytes, timeNs)
  }

  loss(direction: FlowDirection, offset: number, bytes: number, timeNs: bigint): void {
    this.lastSeenNs = timeNs
    const stream = direction === 'read' ? this.#read : this.#write
    stream.loss(offset, bytes, timeNs)
  }

  socket(event: SocketEvent): void {
    const { confidence, role, localAddress, localPort, remoteAddress, remotePort } = event
    this.#peer = { confidence, role, localAddress, localPort, remoteAddress, remotePort }
  }

  /** Stops waiting for records that come late. */
  flush(): void {
    this.#read.flush()
    this.#write.flush()
  }

  /** Ends whatever is open. Nothing may be called after it but takePart. */
  end(timeNs: bigint, reason: EndReason): void {
    this.flush()
    this.#parser?.end(timeNs, reason)
  }

  /** What happened since the part before; the next one begins at timeNs. */
  takePart(timeNs: bigint, finalized: boolean): ConnectionPart {
    this.#part++
    const facts = this.facts()
    const part: ConnectionPart = {
      id: this.newId(),
      connectionId: this.id,
      process: facts.process,
      peer: this.#peer,
      part: this.#part,
      finalized,
      openedNs: this.#openedNs,
      startNs: this.#partStartNs,
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
      bytesLost: this.#bytesLost,
      protocol: this.#parser?.protocol ?? '',
      tlsLibrary: facts.tlsLibrary,
      exchanges: this.#exchanges,
    }
    this.#partStartNs = timeNs
    this.#bytesRead = 0
    this.#bytesWritten = 0
    this.#bytesLost = 0
    this.#exchanges = 0
    return part
  }

  facts(): ConnectionFacts {
    return {
      connectionId: this.id,
      process: this.#around.processOf(this.process),
      peer: this.#peer,
      tlsLibrary: this.#around.libraryOf(this.streamId),
    }
  }

  newId(): Uint8Array {
    return this.#around.ids.next()
  }

  emit(exchange: Exchange): void {
    this.#exchanges++
    this.#around.onExchange(exchange)
  }

  hold(bytes: number): boolean {
    return this.#around.budget.hold(this, bytes)
  }

  release(bytes: number): void {
    this.#around.budget.release(this, bytes)
  }

  dropBodies(): number {
    return this.#parser?.dropBodies() ?? 0
  }

  #onBytes(direction: FlowDirection, bytes: Uint8Array, timeNs: bigint): void {
    if (bytes.length === 0) return
    if (direction === 'read') this.#bytesRead += bytes.length
    else this.#bytesWritten += bytes.length
    if (this.#parser === undefined) this.#detect(direction, bytes, timeNs)
    else this.#parser.push(this.#sideOf(direction), bytes, timeNs)
    this.#lastDirection = direction
  }

  #onGap(direction: FlowDirection, bytes: number, timeNs: bigint): void {
    this.#bytesLost += bytes
    this.#undecided = undefined
    // What follows a loss is no beginning unless the other side speaks in between.
    this.#lastDirection = direction
    this.#parser?.gap(this.#sideOf(direction), bytes, timeNs)
  }

  #sideOf(direction: FlowDirection): Side {
    return direction === this.#requestDirection ? 'request' : 'response'
  }

  /**
   * A request begins with a stream, or right after the other side has spoken. Which side asks follows from
   * the content; where the socket is surely known, its role must not contradict.
   */
  #detect(direction: FlowDirection, bytes: Uint8Array, timeNs: bigint): void {
    const isTurn = direction !== this.#lastDirection
    const before = isTurn ? undefined : this.#undecided
    this.#undecided = undefined
    if (!isTurn && before === undefined) return
    const { role, confidence } = this.#peer
    if (confidence === 'exact' && role !== 'unknown' && (role === 'server') !== (direction === 'read')) return
    const candidate = before === undefined ? bytes : joined(before, bytes)
    for (const protocol of this.#around.protocols) {
      const detection = protocol.detect(candidate)
      if (detection === 'match') {
        this.#requestDirection = direction
        this.#parser = protocol.open(this)
        this.#parser.push('request', candidate, timeNs)
        return
      }
      if (detection === 'more' && candidate.length <= MAX_DETECTION_BYTES)
        this.#undecided = new Uint8Array(candidate)
    }
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.length + second.length)
  all.set(first)
  all.set(second, first.length)
  return all
}
