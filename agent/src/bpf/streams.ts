/** The streams that are open: which process and library they belong to, and which goes when there are too many. */
import type { ProcessKey } from './events.js'
import type { OpenRecord } from './records.js'

export interface Stream {
  readonly id: bigint
  readonly process: ProcessKey
  readonly object: bigint
  readonly image: number
  readonly libraryId: number
  lastNs: bigint
}

/** Share of the streams that goes at once when the table is full: finding the idlest looks at all of them. */
const EVICTED_SHARE = 1 / 16

export class StreamTable {
  readonly #byId = new Map<bigint, Stream>()
  readonly #byProcess = new Map<string, Set<bigint>>()
  readonly #maxStreams: number

  constructor(maxStreams: number) {
    this.#maxStreams = maxStreams
  }

  get size(): number {
    return this.#byId.size
  }

  find(id: bigint): Stream | undefined {
    return this.#byId.get(id)
  }

  /** Takes the stream in and returns those that had to go for it, which are forgotten here. */
  open(record: OpenRecord): Stream[] {
    const { process, object, image, libraryId, streamId: id, timeNs } = record
    this.#byId.set(id, { id, process, object, image, libraryId, lastNs: timeNs })
    const key = processText(process)
    const ofProcess = this.#byProcess.get(key)
    if (ofProcess === undefined) this.#byProcess.set(key, new Set([id]))
    else ofProcess.add(id)
    return this.#byId.size > this.#maxStreams ? this.#evict() : []
  }

  /** False if it was not open. */
  close(id: bigint): boolean {
    const stream = this.#byId.get(id)
    if (stream === undefined) return false
    this.#byId.delete(id)
    const key = processText(stream.process)
    const ofProcess = this.#byProcess.get(key)
    ofProcess?.delete(id)
    if (ofProcess?.size === 0) this.#byProcess.delete(key)
    return true
  }

  ofProcess(process: ProcessKey): Stream[] {
    const ids = this.#byProcess.get(processText(process)) ?? []
    return [...ids].flatMap((id) => this.#byId.get(id) ?? [])
  }

  #evict(): Stream[] {
    const byAge = [...this.#byId.values()].sort((a, b) => (a.lastNs < b.lastNs ? -1 : 1))
    const evicted = byAge.slice(0, Math.ceil(this.#maxStreams * EVICTED_SHARE))
    for (const stream of evicted) this.close(stream.id)
    return evicted
  }
}

function processText(process: ProcessKey): string {
  return `${process.pid}/${process.startNs}`
}
