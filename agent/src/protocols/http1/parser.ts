/**
 * HTTP/1 of one connection: two readers, and the pairing of requests with responses in order.
 *
 * Out of step (bytes lost where a message might have begun) a side waits for a start line at the beginning
 * of a record right after the other side has spoken: without pipelining a message begins nowhere else.
 * Malformed bytes are no error: the parser gives up on the connection and counts why.
 */
import type { HttpExchange } from '../../exchange/exchange.js'
import type { EndReason, ParserHost, ProtocolParser, Side } from '../protocol.js'
import { detectRequest } from './detect.js'
import { type Head, type RequestLine, requestLineOf, statusLineOf } from './head.js'
import type { HeadMemory } from './head-memory.js'
import {
  type Framing,
  type MessageDraft,
  MessageReader,
  type ReaderOwner,
  type ReaderProblem,
  type Refusal,
} from './message-reader.js'

/** Requests without a response yet on one connection; more is given up on. */
export const MAX_PIPELINED = 1024

/** Totals over all connections. */
export interface Http1Counters {
  exchanges: number
  /** Connections whose decoding was given up, by reason. */
  gaveUpBadHead: number
  gaveUpFramingConflict: number
  gaveUpLimit: number
  gaveUpBadChunk: number
  gaveUpOverBudget: number
  /** Connections that went on as something else: 101 or CONNECT. */
  upgrades: number
  /** Losses after which the beginning of the next message had to be searched. */
  resyncs: number
  /** Responses whose request was not seen. */
  orphanResponses: number
}

export function createCounters(): Http1Counters {
  return {
    exchanges: 0,
    gaveUpBadHead: 0,
    gaveUpFramingConflict: 0,
    gaveUpLimit: 0,
    gaveUpBadChunk: 0,
    gaveUpOverBudget: 0,
    upgrades: 0,
    resyncs: 0,
    orphanResponses: 0,
  }
}

class OpenExchange {
  response: MessageDraft | undefined
  status: number | undefined
  requestDone = false
  responseDone = false
  /** Lost bytes that belong to no message of it. */
  lostBytes = 0
  readonly request: MessageDraft
  readonly line: RequestLine
  constructor(request: MessageDraft, line: RequestLine) {
    this.request = request
    this.line = line
  }
}

export class Http1Parser implements ProtocolParser, ReaderOwner {
  stopped = false
  protocol = ''
  readonly #host: ParserHost
  readonly #counters: Http1Counters
  readonly #request: MessageReader
  readonly #response: MessageReader
  /** In order of the requests; the first is the one being answered. */
  readonly #open: OpenExchange[] = []
  #lastSide: Side | undefined
  #index = 0

  constructor(host: ParserHost, counters: Http1Counters, memory: HeadMemory) {
    this.#host = host
    this.#counters = counters
    this.#request = new MessageReader('request', host, this, memory)
    this.#response = new MessageReader('response', host, this, memory)
  }

  push(side: Side, bytes: Uint8Array, timeNs: bigint): void {
    if (this.stopped || bytes.length === 0) return
    const isTurn = this.#lastSide !== side
    this.#lastSide = side
    const reader = side === 'request' ? this.#request : this.#response
    if (reader.isLost && isTurn) this.#tryResync(side, bytes)
    reader.push(bytes, timeNs)
  }

  gap(side: Side, bytes: number, timeNs: bigint): void {
    if (this.stopped) return
    // What follows a loss is no beginning unless the other side speaks in between.
    this.#lastSide = side
    const reader = side === 'request' ? this.#request : this.#response
    if (reader.isLost) {
      // Lost requests are no part of the one that is being answered; a lost response is.
      const first = this.#open[0]
      if (first !== undefined && side === 'response') first.lostBytes += bytes
      return
    }
    const cut = reader.gap(bytes, timeNs)
    if (cut === 'in_step') return
    if (side === 'request') this.#requestLost(cut)
    else this.#responseLost(cut, bytes)
  }

  end(_timeNs: bigint, reason: EndReason): void {
    if (this.stopped) return
    const first = this.#open[0]
    if (reason === 'closed' && first !== undefined && this.#response.endsWithConnection) {
      first.responseDone = true
      this.#settle()
    }
    this.#stop()
  }

  dropBodies(): number {
    let freed = 0
    for (const open of this.#open) {
      freed += open.request.body?.drop() ?? 0
      freed += open.response?.body?.drop() ?? 0
    }
    return freed
  }

  onHead(side: Side, message: MessageDraft, head: Head): Framing | Refusal {
    return side === 'request' ? this.#onRequestHead(message, head) : this.#onResponseHead(message, head)
  }

  onMessageEnd(side: Side, message: MessageDraft): void {
    if (side === 'request') {
      // The request that is being read is always the latest.
      const open = this.#open.at(-1)
      if (open?.request === message) open.requestDone = true
    } else {
      const open = this.#open[0]
      // An interim response ends without being the exchange's.
      if (open === undefined || open.response !== message) return
      open.responseDone = true
    }
    this.#settle()
  }

  onProblem(_side: Side, problem: ReaderProblem): void {
    switch (problem) {
      case 'bad_start_line':
      case 'bad_field':
        this.#counters.gaveUpBadHead++
        break
      case 'framing_conflict':
        this.#counters.gaveUpFramingConflict++
        break
      case 'head_limit':
      case 'too_many_fields':
        this.#counters.gaveUpLimit++
        break
      case 'bad_chunk':
        this.#counters.gaveUpBadChunk++
        break
      case 'over_budget':
        this.#counters.gaveUpOverBudget++
        break
    }
    this.#stop()
  }

  #onRequestHead(message: MessageDraft, head: Head): Framing | Refusal {
    const line = requestLineOf(head)
    if (line === undefined) return 'bad_start_line'
    if (head.transferEncoding === 'other') return this.#giveUp('framing_conflict')
    if (head.transferEncoding === 'chunked' && line.minor === 0) return this.#giveUp('framing_conflict')
    if (this.#open.length >= MAX_PIPELINED) return this.#giveUp('head_limit')
    if (!this.#host.hold(message.headBytes)) return this.#giveUp('over_budget')
    this.protocol = line.minor === 0 ? 'http/1.0' : 'http/1.1'
    this.#open.push(new OpenExchange(message, line))
    if (head.transferEncoding === 'chunked') return 'chunked'
    return head.contentLength ?? 'no_body'
  }

  #onResponseHead(message: MessageDraft, head: Head): Framing | Refusal {
    const line = statusLineOf(head)
    const open = this.#open[0]
    if (open === undefined || open.response !== undefined) {
      this.#counters.orphanResponses++
      return 'orphan'
    }
    if (line === undefined) return 'bad_start_line'
    const { status } = line
    if (status < 200 && status !== 101) return 'no_body'
    if (!this.#host.hold(message.headBytes)) return this.#giveUp('over_budget')
    open.response = message
    open.status = status
    const { method } = open.line
    if (status === 101 || (method === 'CONNECT' && status < 300)) return this.#upgrade(open)
    if (method === 'HEAD' || status === 204 || status === 304) return 'no_body'
    if (head.transferEncoding === 'chunked') {
      return line.minor === 0 ? this.#giveUp('framing_conflict') : 'chunked'
    }
    return head.transferEncoding === 'none' ? (head.contentLength ?? 'until_close') : 'until_close'
  }

  /** Stops both readers: what onHead returns is then not looked at. */
  #giveUp(problem: ReaderProblem): 'no_body' {
    this.onProblem('request', problem)
    return 'no_body'
  }

  #upgrade(open: OpenExchange): 'no_body' {
    this.#counters.upgrades++
    open.responseDone = true
    open.requestDone = true
    this.#settle()
    this.#stop()
    return 'no_body'
  }

  #requestLost(cut: MessageDraft | undefined): void {
    this.#counters.resyncs++
    const open = this.#open.at(-1)
    if (open === undefined || open.request !== cut) return
    open.requestDone = true
    this.#settle()
  }

  #responseLost(cut: MessageDraft | undefined, bytes: number): void {
    this.#counters.resyncs++
    const open = this.#open[0]
    if (open === undefined) return
    // Lost bytes of a message that was open are counted there.
    if (cut === undefined || open.response !== cut) open.lostBytes += bytes
    this.#flush()
  }

  #tryResync(side: Side, bytes: Uint8Array): void {
    if (side === 'response') {
      if (this.#open.length > 0 && startsLikeResponse(bytes)) this.#response.probe()
      return
    }
    if (detectRequest(bytes) === 'no') return
    // Whatever was open is over: a new request has begun, and its response is not in sight yet.
    this.#flush()
    this.#response.lose()
    this.#request.probe()
  }

  /** Emits what is done, in order. */
  #settle(): void {
    let open = this.#open[0]
    while (open?.requestDone && open.responseDone) {
      this.#open.shift()
      this.#emit(open)
      open = this.#open[0]
    }
  }

  #flush(): void {
    for (const open of this.#open.splice(0)) this.#emit(open)
  }

  #stop(): void {
    this.#flush()
    this.stopped = true
    this.#request.stop()
    this.#response.stop()
  }

  #emit(open: OpenExchange): void {
    const { request, response, line } = open
    this.#host.release(request.headBytes + (response?.headBytes ?? 0))
    const bytesLost = open.lostBytes + request.lostBytes + (response?.lostBytes ?? 0)
    const isDone = open.requestDone && open.responseDone
    const facts = this.#host.facts()
    const exchange: HttpExchange = {
      kind: 'http',
      id: this.#host.newId(),
      connectionId: facts.connectionId,
      index: this.#index++,
      process: facts.process,
      peer: facts.peer,
      tlsLibrary: facts.tlsLibrary,
      protocol: line.minor === 0 ? 'http/1.0' : 'http/1.1',
      method: line.method,
      target: line.target,
      status: open.status,
      request: request.toMessage(),
      response: response?.toMessage(),
      completeness: bytesLost > 0 ? 'gap' : isDone ? 'complete' : 'aborted',
      bytesLost,
    }
    this.#counters.exchanges++
    this.#host.emit(exchange)
  }
}

const RESPONSE_START = Buffer.from('HTTP/1.')

function startsLikeResponse(bytes: Uint8Array): boolean {
  const length = Math.min(bytes.length, RESPONSE_START.length)
  for (let at = 0; at < length; at++) {
    if (bytes[at] !== RESPONSE_START[at]) return false
  }
  return true
}
