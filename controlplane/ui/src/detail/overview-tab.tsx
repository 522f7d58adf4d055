import type { ReactNode } from 'react'
import type { ArtifactRef, HttpRequest, Process } from '../../../../gen/cleartap/event/v1/event.js'
import { ArtifactKind, Direction, PeerConfidence } from '../../../../gen/cleartap/event/v1/event.js'
import type { Request } from '../../../../gen/cleartap/pulse/v1/query.js'
import { confidenceSentence, directionSentence, truncationNotice } from '../../../ui-model/exchange.js'
import { formatBytes, formatInstant, formatSocket, formatUuid, toHex } from '../../../ui-model/format.js'
import { TimingBar } from './timing-bar.js'

export function OverviewTab({ request, http }: { request: Request; http: HttpRequest }) {
  const startNano = request.event?.timeUnixNano ?? 0n
  return (
    <div className="overview">
      <Group title="Timing">
        <TimingBar startNano={startNano} http={http} />
      </Group>
      <Group title="Messages">
        <Fact
          name="Protocol"
          value={[http.protocol, http.tlsLibrary && `over TLS, read at ${http.tlsLibrary}`]
            .filter(Boolean)
            .join(' ')}
        />
        <Fact
          name="Request"
          value={messageSize(http.requestBytes, http.requestBodyBytes, http.requestContentType)}
        />
        <Fact
          name="Response"
          value={messageSize(http.responseBytes, http.responseBodyBytes, http.responseContentType)}
        />
        <Fact name="User agent" value={http.userAgent} />
        <Fact name="Stored" value={storedSentence(http)} />
      </Group>
      {request.process !== undefined && <ProcessGroup process={request.process} host={request.host} />}
      <ConnectionGroup http={http} />
      <Group title="Identity">
        <Fact name="Request" value={formatUuid(request.event?.eventId ?? new Uint8Array())} isCode />
        <Fact name="Trace" value={traceText(http)} isCode />
        <Fact name="Agent" value={request.agentId} isCode />
        {request.event !== undefined && <Fact name="Started" value={formatInstant(startNano)} />}
      </Group>
    </div>
  )
}

function ProcessGroup({ process, host }: { process: Process; host: string }) {
  return (
    <Group title="Process">
      <Fact name="Name" value={process.comm} isCode />
      <Fact name="PID" value={`${process.pid}, child of ${process.parentPid}`} />
      <Fact name="Executable" value={process.exe} isCode />
      <Fact
        name="User"
        value={process.user === '' ? `uid ${process.uid}` : `${process.user} (uid ${process.uid})`}
      />
      <Fact name="Container" value={process.containerId || 'none'} isCode={process.containerId !== ''} />
      <Fact name="Cgroup" value={process.cgroup} isCode />
      <Fact name="Host" value={host} />
    </Group>
  )
}

function ConnectionGroup({ http }: { http: HttpRequest }) {
  const peer = http.peer
  return (
    <Group title="Connection">
      <Fact name="Way" value={directionSentence(peer?.direction ?? Direction.DIRECTION_UNSPECIFIED)} />
      <Fact
        name="Peer"
        value={(peer && formatSocket(peer.remoteAddress, peer.remotePort)) || 'unknown'}
        isCode
      />
      <Fact
        name="Local"
        value={(peer && formatSocket(peer.localAddress, peer.localPort)) || 'unknown'}
        isCode
      />
      <Fact
        name="Confidence"
        value={confidenceSentence(peer?.confidence ?? PeerConfidence.PEER_CONFIDENCE_UNSPECIFIED)}
      />
      <Fact name="Connection" value={formatUuid(http.connectionId)} isCode />
      <Fact name="Place" value={`exchange ${http.indexInConnection + 1} of its connection`} />
    </Group>
  )
}

function Group({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="group">
      <h3>{title}</h3>
      <dl>{children}</dl>
    </section>
  )
}

/** A line of a group; nothing if there is no value. */
function Fact({ name, value, isCode }: { name: string; value: string; isCode?: boolean }) {
  if (value === '') return null
  return (
    <div className="fact">
      <dt>{name}</dt>
      <dd className={isCode ? 'is-code' : undefined}>{value}</dd>
    </div>
  )
}

function messageSize(wireBytes: bigint, bodyBytes: bigint, contentType: string): string {
  const body = bodyBytes === 0n ? 'no body' : `body ${formatBytes(bodyBytes)}`
  return [`${formatBytes(wireBytes)} on the wire`, body, contentType].filter((part) => part !== '').join(', ')
}

function traceText(http: HttpRequest): string {
  return http.traceId.length === 0 ? '' : `${toHex(http.traceId)}-${toHex(http.spanId)}`
}

function storedSentence(http: HttpRequest): string {
  const parts = http.artifacts.map((artifact) => artifactSentence(artifact, http))
  return parts.length === 0 ? 'nothing: only this metadata was kept' : parts.join('; ')
}

function artifactSentence(artifact: ArtifactRef, http: HttpRequest): string {
  switch (artifact.kind) {
    case ArtifactKind.ARTIFACT_KIND_HTTP_HEADERS:
      return 'headers'
    case ArtifactKind.ARTIFACT_KIND_HTTP_REQUEST_BODY:
      return bodySentence('request body', artifact, http.requestBodyBytes)
    case ArtifactKind.ARTIFACT_KIND_HTTP_RESPONSE_BODY:
      return bodySentence('response body', artifact, http.responseBodyBytes)
    case ArtifactKind.ARTIFACT_KIND_UNSPECIFIED:
    case ArtifactKind.UNRECOGNIZED:
      return 'an object of a kind that this page does not know'
  }
}

function bodySentence(name: string, artifact: ArtifactRef, bodyBytes: bigint): string {
  const cut = truncationNotice(artifact, bodyBytes)
  return cut === undefined ? name : `${name}, ${cut}`
}
