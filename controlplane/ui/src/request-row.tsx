import { memo } from 'react'
import { Completeness, Direction, type HttpRequest } from '../../../gen/cleartap/event/v1/event.js'
import {
  completenessWarnings,
  completenessWord,
  directionSentence,
  directionWord,
  httpOf,
  statusClass,
} from '../../ui-model/exchange.js'
import { formatBytes, formatDate, formatDuration, formatSocket, formatTime } from '../../ui-model/format.js'
import type { Row } from '../../ui-model/row-buffer.js'

interface RequestRowProps {
  readonly row: Row
  readonly rowIndex: number
  readonly offsetPx: number
  readonly isActive: boolean
  readonly onOpen: (id: string) => void
}

export const RequestRow = memo(function RequestRow(props: RequestRowProps) {
  const { row, rowIndex, offsetPx, isActive, onOpen } = props
  const http = httpOf(row.request)
  if (http === undefined) return null
  const { process } = row.request
  return (
    <tr
      id={`row-${row.id}`}
      aria-rowindex={rowIndex}
      aria-selected={isActive}
      className={`grid-row is-${statusClass(http.status)}${isActive ? ' is-active' : ''}`}
      style={{ transform: `translateY(${offsetPx}px)` }}
      onClick={() => onOpen(row.id)}
    >
      <td aria-colindex={1} className="col-time" title={formatDate(row.timeUnixNano)}>
        {formatTime(row.timeUnixNano)}
      </td>
      <td aria-colindex={2} className="col-method">
        {http.method}
      </td>
      <Target http={http} />
      <td aria-colindex={4} className="col-status">
        <StatusMark status={http.status} />
      </td>
      <DurationCell durationNano={http.durationNano} />
      <td aria-colindex={6} className="col-size" title={sizeTitle(http)}>
        {formatBytes(http.responseBodyBytes)}
      </td>
      <td aria-colindex={7} className="col-process" title={process?.exe}>
        {process?.comm} <span className="pid">{process?.pid}</span>
      </td>
      <PeerCell http={http} />
      <WayCell direction={http.peer?.direction ?? Direction.DIRECTION_UNSPECIFIED} />
      <SeenCell http={http} />
    </tr>
  )
})

function Target({ http }: { http: HttpRequest }) {
  return (
    <td aria-colindex={3} className="col-host" title={`${http.host}${http.path}`}>
      <span className="host">{http.host}</span>
      <span className="path">{http.path}</span>
      {http.query !== '' && <span className="query">?{http.query}</span>}
    </td>
  )
}

/** The status as its number; a shape beside it tells errors without colour. */
export function StatusMark({ status }: { status: number }) {
  return (
    <span
      className={`status is-${statusClass(status)}`}
      title={status === 0 ? 'No response was seen' : undefined}
    >
      {status === 0 ? 'none' : status}
    </span>
  )
}

/** The bar is logarithmic: 100 µs is nothing, 10 s is full. */
function DurationCell({ durationNano }: { durationNano: bigint }) {
  const decades = Math.log10(Math.max(1, Number(durationNano))) - 5
  const percent = Math.round(Math.min(1, Math.max(0, decades / 5)) * 100)
  return (
    <td aria-colindex={5} className="col-duration">
      {durationNano === 0n ? '–' : formatDuration(durationNano)}
      <span className="duration-bar" style={{ width: `${percent}%` }} />
    </td>
  )
}

function PeerCell({ http }: { http: HttpRequest }) {
  const peer = http.peer
  const socket = peer === undefined ? '' : formatSocket(peer.remoteAddress, peer.remotePort)
  return (
    <td aria-colindex={8} className="col-peer" title={socket}>
      {socket || 'unknown'}
    </td>
  )
}

function WayCell({ direction }: { direction: Direction }) {
  const arrow =
    direction === Direction.DIRECTION_INGRESS ? '↓ ' : direction === Direction.DIRECTION_EGRESS ? '↑ ' : ''
  return (
    <td aria-colindex={9} className="col-way" title={directionSentence(direction)}>
      <span aria-hidden="true">{arrow}</span>
      {directionWord(direction)}
    </td>
  )
}

function SeenCell({ http }: { http: HttpRequest }) {
  const isWhole = http.completeness === Completeness.COMPLETENESS_COMPLETE
  return (
    <td
      aria-colindex={10}
      className={isWhole ? 'col-seen' : 'col-seen is-alarming'}
      title={completenessWarnings(http).join(' ') || 'Every byte of both messages was seen'}
    >
      {completenessWord(http.completeness)}
    </td>
  )
}

function sizeTitle(http: HttpRequest): string {
  return `request body ${formatBytes(http.requestBodyBytes)}, response body ${formatBytes(http.responseBodyBytes)}`
}
