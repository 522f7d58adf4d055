import type { HttpRequest } from '../../../../gen/cleartap/event/v1/event.js'
import { formatDuration, formatTime } from '../../../ui-model/format.js'

/** Start, first byte and end of an exchange, as a bar and in figures. */
export function TimingBar({ startNano, http }: { startNano: bigint; http: HttpRequest }) {
  const totalNano = http.durationNano
  const firstNano = http.firstByteNano
  const firstPercent = totalNano === 0n ? 0 : Number((firstNano * 1000n) / totalNano) / 10
  const hasFirst = firstNano > 0n
  return (
    <div className="timing">
      <div className="timing-bar" aria-hidden="true">
        <span className="timing-wait" style={{ width: `${hasFirst ? firstPercent : 100}%` }} />
        <span className="timing-read" />
      </div>
      <ol>
        <li>
          <span className="timing-key is-wait" />
          <span>Start</span>
          <b>{formatTime(startNano)}</b>
        </li>
        <li>
          <span className="timing-key is-read" />
          <span>First byte</span>
          <b>{hasFirst ? `+${formatDuration(firstNano)}` : 'none seen'}</b>
        </li>
        <li>
          <span className="timing-key is-end" />
          <span>End</span>
          <b>{totalNano === 0n ? 'not seen' : `+${formatDuration(totalNano)}`}</b>
        </li>
      </ol>
    </div>
  )
}
