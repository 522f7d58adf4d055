import { useVirtualizer } from '@tanstack/react-virtual'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import { formatCount } from '../../ui-model/format.js'
import type { FeedSnapshot, RequestFeed } from './request-feed.js'
import { RequestRow } from './request-row.js'

const ROW_HEIGHT_PX = 30
/** The head stays above the rows; narrow screens have none. */
const HEAD_HEIGHT_PX = 28
/** On narrow screens a row has two lines. */
const TALL_ROW_HEIGHT_PX = 54
const NARROW_PX = 620
/** Older rows are asked for when so few are left below the view. */
const OLDER_MARGIN_ROWS = 30

const COLUMNS = [
  'Time',
  'Method',
  'Host and path',
  'Status',
  'Duration',
  'Size',
  'Process',
  'Peer',
  'Way',
  'Seen',
] as const

interface RequestTableProps {
  readonly feed: RequestFeed
  readonly snapshot: FeedSnapshot
  /** The row of the cursor or of the open request. */
  readonly activeId: string | undefined
  readonly onOpen: (id: string) => void
  /** What stands there while there are no rows. */
  readonly children: ReactNode
}

/** The table: newest on top, only the rows in view drawn, frozen while scrolled away from the top. */
export function RequestTable({ feed, snapshot, activeId, onOpen, children }: RequestTableProps) {
  const { rows, waiting } = snapshot
  const scroller = useRef<HTMLDivElement>(null)
  const isNarrow = useIsNarrow(scroller)
  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => (isNarrow ? TALL_ROW_HEIGHT_PX : ROW_HEIGHT_PX),
    getItemKey: (index) => rows[index]?.id ?? index,
    overscan: 10,
  })
  // biome-ignore lint/correctness/useExhaustiveDependencies: the row height changes with isNarrow
  useEffect(() => virtualizer.measure(), [virtualizer, isNarrow])
  const activeIndex = rows.findIndex((row) => row.id === activeId)
  // biome-ignore lint/correctness/useExhaustiveDependencies: only a moved cursor scrolls, rows that arrive must not
  useEffect(() => {
    if (activeId !== undefined) scrollIntoView(scroller.current, activeIndex, isNarrow)
  }, [activeId])
  const items = virtualizer.getVirtualItems()
  const lastIndex = items.at(-1)?.index ?? 0
  useEffect(() => {
    if (rows.length > 0 && lastIndex >= rows.length - OLDER_MARGIN_ROWS) feed.loadOlder()
  }, [feed, lastIndex, rows.length])
  const showNewest = () => {
    scroller.current?.scrollTo({ top: 0 })
    feed.setScrolled(false)
    feed.release()
  }
  return (
    <section className="requests" aria-label="Requests">
      <div
        className="grid-scroll"
        ref={scroller}
        onScroll={(event) => feed.setScrolled(event.currentTarget.scrollTop > 4)}
      >
        <table
          className="grid"
          // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: a table whose rows are chosen is a grid
          role="grid"
          aria-label="Requests, newest first"
          aria-rowcount={rows.length + 1}
          aria-colcount={COLUMNS.length}
          aria-activedescendant={activeIndex < 0 ? undefined : `row-${activeId}`}
          tabIndex={0}
        >
          <thead>
            <tr className="grid-row" aria-rowindex={1}>
              {COLUMNS.map((name, index) => (
                <th
                  key={name}
                  scope="col"
                  aria-colindex={index + 1}
                  className={`col-${name.split(' ')[0]?.toLowerCase()}`}
                >
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody style={{ height: virtualizer.getTotalSize() }}>
            {items.map((item) => {
              const row = rows[item.index]
              if (row === undefined) return null
              return (
                <RequestRow
                  key={row.id}
                  row={row}
                  rowIndex={item.index + 2}
                  offsetPx={item.start}
                  isActive={row.id === activeId}
                  onOpen={onOpen}
                />
              )
            })}
          </tbody>
        </table>
        {rows.length === 0 ? children : <TableEnd snapshot={snapshot} onRetry={() => feed.retryList()} />}
      </div>
      {waiting > 0 && (
        <button type="button" className="new-chip" onClick={showNewest}>
          <span aria-hidden="true">↑ </span>
          {formatCount(waiting)} new
        </button>
      )}
    </section>
  )
}

/** Why the table ends where it ends. */
function TableEnd({ snapshot, onRetry }: { snapshot: FeedSnapshot; onRetry: () => void }) {
  if (snapshot.listError !== undefined) {
    return (
      <p className="grid-end" role="alert">
        {snapshot.listError}{' '}
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      </p>
    )
  }
  if (snapshot.loading || snapshot.hasOlder) return <p className="grid-end">Reading older requests…</p>
  if (snapshot.letGo > 0 || snapshot.rows.length >= 10_000) {
    return <p className="grid-end">This page holds 10 000 requests. Narrow the filter to see older ones.</p>
  }
  return <p className="grid-end">No older requests.</p>
}

function scrollIntoView(scroller: HTMLDivElement | null, index: number, isNarrow: boolean): void {
  if (scroller === null || index < 0) return
  const rowHeight = isNarrow ? TALL_ROW_HEIGHT_PX : ROW_HEIGHT_PX
  const viewHeight = scroller.clientHeight - (isNarrow ? 0 : HEAD_HEIGHT_PX)
  const top = index * rowHeight
  if (top < scroller.scrollTop) scroller.scrollTo({ top })
  else if (top + rowHeight > scroller.scrollTop + viewHeight) {
    scroller.scrollTo({ top: top + rowHeight - viewHeight })
  }
}

function useIsNarrow(element: { readonly current: HTMLElement | null }): boolean {
  const [isNarrow, setIsNarrow] = useState(false)
  useEffect(() => {
    if (element.current === null) return
    const observer = new ResizeObserver(([entry]) => {
      if (entry !== undefined) setIsNarrow(entry.contentRect.width < NARROW_PX)
    })
    observer.observe(element.current)
    return () => observer.disconnect()
  }, [element])
  return isNarrow
}
