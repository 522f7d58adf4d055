import { useEffect, useRef, useState } from 'react'
import { ArtifactKind, type HttpRequest } from '../../../../gen/cleartap/event/v1/event.js'
import type { Request } from '../../../../gen/cleartap/pulse/v1/query.js'
import { decodeText } from '../../../ui-model/body-content.js'
import { artifactOf, completenessWarnings, httpOf } from '../../../ui-model/exchange.js'
import { type HttpHeads, headerValue, parseHttpHeads } from '../../../ui-model/http-headers.js'
import { getRequest } from '../api.js'
import { fetchObject } from '../objects.js'
import { StatusMark } from '../request-row.js'
import { BodyTab } from './body-tab.js'
import { CopyCurl } from './copy-curl.js'
import { HeadersTab } from './headers-tab.js'
import { OverviewTab } from './overview-tab.js'
import { type Loaded, useLoaded } from './use-loaded.js'

const TABS = ['Overview', 'Headers', 'Request', 'Response'] as const
type Tab = (typeof TABS)[number]

interface RequestDetailProps {
  /** UUID text. */
  readonly id: string
  /** The request if the table holds it; else it is read from the control plane. */
  readonly held: Request | undefined
  readonly onClose: () => void
}

export function RequestDetail({ id, held, onClose }: RequestDetailProps) {
  const [first] = useState(held)
  const loaded = useLoaded(async (signal) => first ?? (await getRequest(id, signal)), [id, first])
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => heading.current?.focus({ preventScroll: true }), [])
  const request = first ?? (loaded.kind === 'ready' ? loaded.value : undefined)
  const http = request === undefined ? undefined : httpOf(request)
  return (
    <aside className="detail" aria-labelledby="detail-title">
      <div className="detail-head">
        <h2 id="detail-title" ref={heading} tabIndex={-1}>
          {http === undefined ? 'Request' : <Title http={http} />}
        </h2>
        <button type="button" className="quiet" onClick={onClose} aria-label="Close the request">
          Close<kbd>esc</kbd>
        </button>
      </div>
      {loaded.kind === 'loading' && request === undefined && <p className="note">Reading the request…</p>}
      {loaded.kind === 'failed' && (
        <p className="warning" role="alert">
          {loaded.reason}
        </p>
      )}
      {request !== undefined && http !== undefined && <Exchange request={request} http={http} />}
    </aside>
  )
}

function Title({ http }: { http: HttpRequest }) {
  return (
    <>
      <span className="title-line">
        <b>{http.method}</b> <StatusMark status={http.status} /> <span className="host">{http.host}</span>
      </span>
      <span className="title-path">
        {http.path}
        {http.query !== '' && <span className="query">?{http.query}</span>}
      </span>
    </>
  )
}

function Exchange({ request, http }: { request: Request; http: HttpRequest }) {
  const [tab, setTab] = useState<Tab>('Overview')
  const heads = useHeads(http)
  const requestHead = heads.kind === 'ready' ? heads.value?.request : undefined
  const responseHead = heads.kind === 'ready' ? heads.value?.response : undefined
  return (
    <>
      {completenessWarnings(http).map((warning) => (
        <p key={warning} className="warning">
          {warning}
        </p>
      ))}
      <div className="tab-bar">
        <TabList tab={tab} onChange={setTab} />
        <CopyCurl http={http} heads={heads} />
      </div>
      <div className="tab-panel" role="tabpanel" id="detail-panel" aria-labelledby={`tab-${tab}`}>
        {tab === 'Overview' && <OverviewTab request={request} http={http} />}
        {tab === 'Headers' && <HeadersTab heads={heads} />}
        {tab === 'Request' && (
          <BodyTab
            key="request"
            artifact={artifactOf(http, ArtifactKind.ARTIFACT_KIND_HTTP_REQUEST_BODY)}
            bodyBytes={http.requestBodyBytes}
            isHeadKnown={heads.kind !== 'loading'}
            contentEncoding={headerValue(requestHead, 'content-encoding')}
            name="request"
          />
        )}
        {tab === 'Response' && (
          <BodyTab
            key="response"
            artifact={artifactOf(http, ArtifactKind.ARTIFACT_KIND_HTTP_RESPONSE_BODY)}
            bodyBytes={http.responseBodyBytes}
            isHeadKnown={heads.kind !== 'loading'}
            contentEncoding={headerValue(responseHead, 'content-encoding')}
            name="response"
          />
        )}
      </div>
    </>
  )
}

/** Headers of both messages; undefined if the agent stored none. */
function useHeads(http: HttpRequest): Loaded<HttpHeads | undefined> {
  return useLoaded(
    async (signal) => {
      const artifact = artifactOf(http, ArtifactKind.ARTIFACT_KIND_HTTP_HEADERS)
      if (artifact === undefined) return undefined
      return parseHttpHeads(decodeText((await fetchObject(artifact, signal)).bytes))
    },
    [http],
  )
}

function TabList({ tab, onChange }: { tab: Tab; onChange: (tab: Tab) => void }) {
  const step = (by: number) => {
    const next = TABS[(TABS.indexOf(tab) + by + TABS.length) % TABS.length]
    if (next === undefined) return
    onChange(next)
    document.getElementById(`tab-${next}`)?.focus()
  }
  return (
    <div role="tablist" aria-label="Parts of the request">
      {TABS.map((name) => (
        <button
          key={name}
          type="button"
          role="tab"
          id={`tab-${name}`}
          aria-selected={name === tab}
          aria-controls="detail-panel"
          tabIndex={name === tab ? 0 : -1}
          onClick={() => onChange(name)}
          onKeyDown={(event) => {
            if (event.key === 'ArrowRight') step(1)
            if (event.key === 'ArrowLeft') step(-1)
          }}
        >
          {name}
        </button>
      ))}
    </div>
  )
}
