import type { Body, HttpExchange, HttpMessage, Peer, ProcessInfo } from '../exchange/exchange.js'
import { durationNs, formatEnd, urlOf } from './exchange-facts.js'

/**
 * One exchange as one JSON line, without the newline. Names are stable; what is unknown is absent. Bodies are
 * there up to maxBodyBytes: as "text" if they are UTF-8 as sent, else as "base64"; 0 leaves their content out.
 */
export function exchangeJson(exchange: HttpExchange, maxBodyBytes: number): string {
  const duration = durationNs(exchange)
  return JSON.stringify({
    time: new Date(Number(exchange.request.startNs / 1_000_000n)).toISOString(),
    id: formatUuid(exchange.id),
    connectionId: formatUuid(exchange.connectionId),
    indexInConnection: exchange.index,
    process: processJson(exchange.process),
    peer: peerJson(exchange.peer),
    tlsLibrary: exchange.tlsLibrary || undefined,
    protocol: exchange.protocol,
    method: exchange.method,
    url: urlOf(exchange),
    status: exchange.status,
    durationMs: duration === undefined ? undefined : Number(duration) / 1e6,
    completeness: exchange.completeness,
    bytesLost: exchange.bytesLost,
    request: messageJson(exchange.request, maxBodyBytes),
    response: exchange.response && messageJson(exchange.response, maxBodyBytes),
  })
}

function processJson(process: ProcessInfo) {
  return {
    pid: process.pid,
    parentPid: process.parentPid,
    uid: process.uid,
    user: process.user || undefined,
    comm: process.comm,
    exe: process.exe || undefined,
    containerId: process.containerId || undefined,
  }
}

function peerJson(peer: Peer) {
  return {
    direction: directionOf(peer),
    confidence: peer.confidence,
    local: formatEnd(peer.localAddress, peer.localPort),
    remote: formatEnd(peer.remoteAddress, peer.remotePort),
  }
}

function directionOf({ role }: Peer): 'egress' | 'ingress' | undefined {
  switch (role) {
    case 'client':
      return 'egress'
    case 'server':
      return 'ingress'
    case 'unknown':
      return undefined
  }
}

function messageJson(message: HttpMessage, maxBodyBytes: number) {
  return {
    line: message.startLine,
    headers: message.headers,
    wireBytes: message.wireBytes,
    body: message.body && bodyJson(message.body, maxBodyBytes),
  }
}

function bodyJson(body: Body, maxBodyBytes: number) {
  if (maxBodyBytes === 0 || body.size === 0) return { size: body.size }
  const whole = Buffer.concat(body.chunks)
  const kept = whole.subarray(0, maxBodyBytes)
  const text = decodeUtf8(kept)
  const truncated = body.truncated || kept.length < whole.length || undefined
  return text === undefined
    ? { size: body.size, truncated, base64: kept.toString('base64') }
    : { size: body.size, truncated, text }
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function formatUuid(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
