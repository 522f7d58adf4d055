/** Reads the generated request message for the page: its parts, and its state in words. */
import {
  type ArtifactKind,
  type ArtifactRef,
  Completeness,
  Direction,
  type HttpRequest,
  PeerConfidence,
} from '../../gen/cleartap/event/v1/event.js'
import type { Request } from '../../gen/cleartap/pulse/v1/query.js'
import { formatBytes, formatCount } from './format.js'

/** The HTTP exchange of a request; undefined for another kind of event. */
export function httpOf(request: Request): HttpRequest | undefined {
  const kind = request.event?.kind
  return kind?.$case === 'httpRequest' ? kind.value : undefined
}

export function artifactOf(http: HttpRequest, kind: ArtifactKind): ArtifactRef | undefined {
  return http.artifacts.find((artifact) => artifact.kind === kind)
}

/** Scheme and host, such as "https://api.example.com"; "" if the host is not known. */
export function originOf(http: HttpRequest): string {
  return http.host === '' ? '' : `${http.scheme || 'https'}://${http.host}`
}

/** Whether a status is good, a redirect, the caller's or the server's fault; "none" without a response. */
export type StatusClass = 'none' | 'info' | 'good' | 'redirect' | 'refused' | 'failed'

export function statusClass(status: number): StatusClass {
  if (status === 0) return 'none'
  if (status < 200) return 'info'
  if (status < 300) return 'good'
  if (status < 400) return 'redirect'
  return status < 500 ? 'refused' : 'failed'
}

/** One word for a row. */
export function completenessWord(completeness: Completeness): string {
  switch (completeness) {
    case Completeness.COMPLETENESS_COMPLETE:
      return 'whole'
    case Completeness.COMPLETENESS_GAP:
      return 'gap'
    case Completeness.COMPLETENESS_ABORTED:
      return 'cut off'
    case Completeness.COMPLETENESS_UNSPECIFIED:
    case Completeness.UNRECOGNIZED:
      return 'unknown'
  }
}

/** What is missing from the exchange, a sentence each; empty if it was seen whole and kept whole. */
export function completenessWarnings(http: HttpRequest): readonly string[] {
  const warnings: string[] = []
  if (http.completeness === Completeness.COMPLETENESS_GAP) {
    warnings.push(
      `The agent lost ${formatBytes(http.bytesLost)} of this exchange. Sizes, timing and bodies may be short.`,
    )
  } else if (http.completeness === Completeness.COMPLETENESS_ABORTED) {
    warnings.push(
      'The connection or the capture ended before the exchange did. What follows is what was seen until then.',
    )
  } else if (http.completeness !== Completeness.COMPLETENESS_COMPLETE) {
    warnings.push('The agent did not say whether it saw the whole exchange.')
  }
  if (http.status === 0) warnings.push('No response was seen.')
  return warnings
}

/** How much of a body is stored, in words: "stored 4 096 of 10 000 bytes"; undefined if it is whole. */
export function truncationNotice(artifact: ArtifactRef, bodyBytes: bigint): string | undefined {
  if (!artifact.truncated) return undefined
  return `stored ${formatCount(artifact.size)} of ${formatCount(bodyBytes)} bytes`
}

export function directionWord(direction: Direction): string {
  switch (direction) {
    case Direction.DIRECTION_INGRESS:
      return 'in'
    case Direction.DIRECTION_EGRESS:
      return 'out'
    case Direction.DIRECTION_UNSPECIFIED:
    case Direction.UNRECOGNIZED:
      return '–'
  }
}

export function directionSentence(direction: Direction): string {
  switch (direction) {
    case Direction.DIRECTION_INGRESS:
      return 'incoming: the process accepted the connection'
    case Direction.DIRECTION_EGRESS:
      return 'outgoing: the process opened the connection'
    case Direction.DIRECTION_UNSPECIFIED:
    case Direction.UNRECOGNIZED:
      return 'not known'
  }
}

export function confidenceSentence(confidence: PeerConfidence): string {
  switch (confidence) {
    case PeerConfidence.PEER_CONFIDENCE_EXACT:
      return 'exact: socket I/O was seen inside the TLS call'
    case PeerConfidence.PEER_CONFIDENCE_INFERRED:
      return 'inferred: the socket that the thread used last'
    case PeerConfidence.PEER_CONFIDENCE_UNKNOWN:
      return 'unknown: no socket was found'
    case PeerConfidence.PEER_CONFIDENCE_UNSPECIFIED:
    case PeerConfidence.UNRECOGNIZED:
      return 'not said'
  }
}
