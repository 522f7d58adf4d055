/** Makes the batch of a list of events: one payload, each process in it once. */
import { constants, crc32, zstdCompressSync } from 'node:zlib'
import { Compression } from '../../../../gen/cleartap/event/v1/compression.js'
import { type Event, Events, type Process } from '../../../../gen/cleartap/event/v1/event.js'
import type { EventBatch, GapReport } from '../../../../gen/cleartap/pulse/v1/ingest.js'
import type { EventRecord } from '../sink.js'

/** The fast end of zstd: events repeat themselves enough for it. */
const ZSTD_OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

/** A batch but for its number and trace. Sets Event.process of every event. */
export function makeBatch(
  records: readonly EventRecord[],
  gaps: readonly GapReport[],
): Omit<EventBatch, 'sequence' | 'traceparent'> {
  const indexes = new Map<Process, number>()
  const processes: Process[] = []
  const events: Event[] = []
  let first = records[0]?.event.timeUnixNano ?? 0n
  let last = first
  for (const { event, process } of records) {
    let index = indexes.get(process)
    if (index === undefined) {
      index = processes.push(process) - 1
      indexes.set(process, index)
    }
    event.process = index
    events.push(event)
    if (event.timeUnixNano < first) first = event.timeUnixNano
    if (event.timeUnixNano > last) last = event.timeUnixNano
  }
  const payload = Events.encode({ processes, events }).finish()
  return {
    firstUnixNano: first,
    lastUnixNano: last,
    eventCount: events.length,
    crc32: crc32(payload),
    compression: Compression.COMPRESSION_ZSTD,
    payload: zstdCompressSync(payload, ZSTD_OPTIONS),
    gaps: [...gaps],
  }
}

/** About how many bytes an event takes in a payload: only texts vary much. */
export function estimatedBytes({ event }: EventRecord): number {
  if (event.kind?.$case !== 'httpRequest') return 200
  const { host, path, query, userAgent, artifacts } = event.kind.value
  return 250 + host.length + path.length + query.length + userAgent.length + artifacts.length * 160
}
