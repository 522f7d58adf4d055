import type { AgentView } from '../../ui-model/agents.js'
import { isFiltering, type RequestFilter } from '../../ui-model/filter.js'
import type { FeedSnapshot } from './request-feed.js'

interface EmptyStateProps {
  readonly snapshot: FeedSnapshot
  readonly filter: RequestFilter
  readonly agents: readonly AgentView[] | undefined
  readonly onClearFilter: () => void
  readonly onRetry: () => void
}

/** What stands in place of rows: what is the matter, and what to do. */
export function EmptyState({ snapshot, filter, agents, onClearFilter, onRetry }: EmptyStateProps) {
  if (snapshot.listError !== undefined) {
    return (
      <div className="empty" role="alert">
        <h2>The requests could not be read</h2>
        <p>{snapshot.listError}</p>
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      </div>
    )
  }
  if (!snapshot.settled) return <p className="empty">Reading requests…</p>
  if (snapshot.waiting > 0) {
    return <Waiting title="Paused" text="New requests have come and wait above. Resume to see them." />
  }
  if (isFiltering(filter)) {
    return (
      <div className="empty">
        <h2>Nothing matches this filter</h2>
        <p>New requests that match will appear here by themselves.</p>
        <button type="button" onClick={onClearFilter}>
          Reset the filter
        </button>
      </div>
    )
  }
  if (agents !== undefined && !agents.some((agent) => agent.connected)) return <NoAgent />
  return (
    <div className="empty">
      <h2>Waiting for the first request</h2>
      <p>Make any HTTPS call on a host with an agent. It appears here by itself.</p>
      <pre>curl https://example.com</pre>
    </div>
  )
}

function Waiting({ title, text }: { title: string; text: string }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      <p>{text}</p>
    </div>
  )
}

function NoAgent() {
  return (
    <div className="empty">
      <h2>No agent is connected</h2>
      <p>
        Start one on a Linux host whose traffic you want to see, with <code>control_plane.address</code> and
        the <code>pulse</code> sink in its configuration pointing here:
      </p>
      <pre>sudo cleartap agent --config agent.yaml</pre>
    </div>
  )
}
