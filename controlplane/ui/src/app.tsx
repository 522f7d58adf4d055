import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react'
import { filterFromQuery, filterToQuery, type RequestFilter } from '../../ui-model/filter.js'
import { AgentStrip } from './agent-strip.js'
import { RequestDetail } from './detail/request-detail.js'
import { EmptyState } from './empty-state.js'
import { FilterBar } from './filter-bar.js'
import { RequestFeed } from './request-feed.js'
import { RequestTable } from './request-table.js'
import { TopBar } from './top-bar.js'
import { useAgents } from './use-agents.js'
import { useKeys } from './use-keys.js'
import { useRoute } from './use-route.js'

/** The page: bars on top, the table, and beside it the open request. */
export function App() {
  const { route, go } = useRoute()
  const feed = useFeed(route.filter)
  const snapshot = useSyncExternalStore(feed.subscribe, feed.getSnapshot)
  const { agents, error: agentsError } = useAgents()
  const [cursorId, setCursorId] = useState<string>()
  const filterInput = useRef<HTMLInputElement>(null)
  const setFilter = (filter: RequestFilter) => go({ ...route, filter }, 'replace')
  const close = () => go({ ...route, requestId: undefined })
  const openRow = (requestId: string) => {
    setCursorId(requestId)
    go({ ...route, requestId }, route.requestId === undefined ? 'push' : 'replace')
  }
  const activeId = route.requestId ?? cursorId
  useKeys({
    move: (by) => {
      const next = neighbour(snapshot.rows, activeId, by)
      if (next === undefined) return
      if (route.requestId === undefined) setCursorId(next)
      else openRow(next)
    },
    open: () => cursorId !== undefined && openRow(cursorId),
    close,
    focusFilter: () => filterInput.current?.focus(),
    togglePause: () => feed.setPaused(!snapshot.paused),
  })
  const held = snapshot.rows.find((row) => row.id === route.requestId)
  return (
    <>
      <header className="bars">
        <TopBar feed={feed} snapshot={snapshot} />
        <FilterBar filter={route.filter} onChange={setFilter} inputRef={filterInput} />
        <AgentStrip agents={agents} error={agentsError} />
      </header>
      <main className={route.requestId === undefined ? 'panes' : 'panes has-detail'}>
        <RequestTable feed={feed} snapshot={snapshot} activeId={activeId} onOpen={openRow}>
          <EmptyState
            snapshot={snapshot}
            filter={route.filter}
            agents={agents}
            onClearFilter={() => setFilter({})}
            onRetry={() => feed.retryList()}
          />
        </RequestTable>
        {route.requestId !== undefined && (
          <RequestDetail key={route.requestId} id={route.requestId} held={held?.request} onClose={close} />
        )}
      </main>
    </>
  )
}

/** A feed for the filter; a changed filter gets a new one. */
function useFeed(filter: RequestFilter): RequestFeed {
  const query = filterToQuery(filter)
  const feed = useMemo(() => new RequestFeed(filterFromQuery(query)), [query])
  useEffect(() => {
    feed.start()
    return () => feed.stop()
  }, [feed])
  return feed
}

/** The id that lies by rows away from the given one; the first row if that one is not in the table. */
function neighbour(
  rows: readonly { readonly id: string }[],
  id: string | undefined,
  by: number,
): string | undefined {
  const at = rows.findIndex((row) => row.id === id)
  const next = at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))
  return rows[next]?.id
}
