import { useEffect, useState } from 'react'
import { formatCount } from '../../ui-model/format.js'
import type { FeedSnapshot, RequestFeed } from './request-feed.js'
import type { TailState } from './tail.js'

export function TopBar({ feed, snapshot }: { feed: RequestFeed; snapshot: FeedSnapshot }) {
  const { paused, rows, missed, letGo } = snapshot
  return (
    <div className="top-bar">
      <a className="brand" href="/" aria-label="Cleartap, all requests">
        <Logo />
        <span>Cleartap</span>
      </a>
      <TailBadge tail={snapshot.tail} paused={paused} />
      <dl className="counts">
        <Count name="held" value={rows.length} title="Requests in this table, at most 10 000" />
        <Count
          name="missed"
          value={missed}
          title="Requests that matched but came faster than the server could send them to this page"
        />
        <Count name="let go" value={letGo} title="Older rows dropped from this page to bound its memory" />
      </dl>
      <div className="actions">
        <button type="button" aria-pressed={paused} onClick={() => feed.setPaused(!paused)}>
          {paused ? 'Resume' : 'Pause'}
          <kbd>space</kbd>
        </button>
        <button type="button" onClick={() => feed.clear()}>
          Clear
        </button>
      </div>
    </div>
  )
}

function Count({ name, value, title }: { name: string; value: number | bigint; title: string }) {
  const isAlarming = name !== 'held' && value > 0
  return (
    <div title={title} className={isAlarming ? 'is-alarming' : undefined}>
      <dd>{formatCount(value)}</dd>
      <dt>{name}</dt>
    </div>
  )
}

/** The tail's state as a shape, a word and, when it is down, the reason. */
function TailBadge({ tail, paused }: { tail: TailState; paused: boolean }) {
  const seconds = useSecondsUntil(tail.kind === 'waiting' ? tail.retryAtMs : undefined)
  const state = paused && tail.kind === 'live' ? 'paused' : tail.kind
  const hasReason = tail.kind === 'waiting' || tail.kind === 'refused'
  return (
    <div className={`tail is-${state}`}>
      <span className="tail-mark" aria-hidden="true" />
      <span className="tail-word" aria-hidden="true">
        {tailWord(tail, paused, seconds)}
      </span>
      {/* Without the countdown: a screen reader says only what changes. */}
      <span className="sr-only" role="status">
        Live tail: {tailWord(tail, paused, 0)}
      </span>
      {hasReason && <span className="tail-reason">{tail.reason}</span>}
    </div>
  )
}

function tailWord(tail: TailState, paused: boolean, seconds: number): string {
  switch (tail.kind) {
    case 'live':
      return paused ? 'Paused' : 'Live'
    case 'connecting':
      return 'Connecting…'
    case 'waiting':
      return seconds > 0 ? `Reconnecting in ${seconds} s` : 'Reconnecting…'
    case 'refused':
      return 'Not live'
    case 'closed':
      return 'Closed'
  }
}

function useSecondsUntil(timeMs: number | undefined): number {
  const [nowMs, setNowMs] = useState(Date.now)
  useEffect(() => {
    if (timeMs === undefined) return
    setNowMs(Date.now())
    const timer = setInterval(() => setNowMs(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [timeMs])
  return timeMs === undefined ? 0 : Math.max(0, Math.round((timeMs - nowMs) / 1000))
}

function Logo() {
  return (
    <svg viewBox="0 0 32 32" width="20" height="20" aria-hidden="true">
      <path
        className="logo-drop"
        d="M16 2.5c5 6.4 9.5 11.3 9.5 17a9.5 9.5 0 0 1-19 0c0-5.7 4.500-10.6 9.5-17z"
      />
      <path className="logo-trace" d="M10 20h3.2l2-4.600 2.4 8 1.700-3.4H22" />
    </svg>
  )
}
