/** The kernel side as one object: start, events, statistics, stop. */

import type { ProcessInfo } from '../exchange/exchange.js'
import type { IgnoreRules } from '../processes/ignore.js'
import { ProcessTable } from '../processes/table.js'
import { LibraryDiscovery } from '../tls/discovery.js'
import { Backlog, type PendingEvent, type PendingExec } from './backlog.js'
import type { BpfEvent, ExecEvent, ForkEvent, LossReason } from './events.js'
import { structs } from './layout.js'
import type { BatchCallback } from './native.js'
import { type KernelCounters, type KernelFeatures, type OptionalFeature, Probes } from './probes.js'
import { type KernelRecord, RecordReader } from './records.js'
import { type Stream, StreamTable } from './streams.js'
import { type CaptureTargets, TargetMarks, targetModeNumber } from './targets.js'

/** What a pino logger offers. */
export interface CaptureLogger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export interface CaptureOptions {
  /** Ring for plaintext; a power of two, at least a page. */
  readonly ringBytes: number
  /** Streams followed at one time; the idlest go first. */
  readonly maxStreams: number
  readonly targets: CaptureTargets
  /** With targets "all" only. */
  readonly ignore: IgnoreRules
  readonly logger: CaptureLogger
  /** Features of a recent kernel that shall not be used; none by default. */
  readonly without?: readonly OptionalFeature[]
}

export interface CaptureHandler {
  /** In order for each stream, from before start() resolves. Payload is a view that is valid only until this returns. */
  onEvent(event: BpfEvent, capture: Capture): void
  /** The events that came together have all been handed over. */
  onBatchEnd(): void
}

export interface CaptureStats {
  readonly events: number
  readonly bytes: number
  readonly batches: number
  readonly lostBytes: Readonly<Record<LossReason, number>>
  readonly lostRecords: Readonly<Record<LossReason, number>>
  readonly controlRecordsLost: number
  /** Libraries probed, and probed instructions in them. */
  readonly libraries: number
  readonly probes: number
  /** The same by the name of the library, such as "openssl". */
  readonly probesByLibrary: Readonly<Record<string, number>>
  readonly attachFailures: number
  readonly processes: number
  readonly processesEvicted: number
  readonly processesSkipped: number
  /** Processes that could not be marked as ignored or wanted: the kernel's table is full. */
  readonly marksFailed: number
  readonly streams: number
  readonly streamsEvicted: number
  readonly kernel: KernelCounters
}

const BATCH_BUFFERS = 4
const BATCH_BUFFER_BYTES = 2 * 1024 * 1024
const RESCAN_INTERVAL_MS = 10_000
const MAX_FILES = 65_536
const MAX_PROCESSES = 65_536
const REMEMBER_PROCESS_MS = 5_000

/** One running capture. Nothing is pinned: whatever ends this process ends the capture. */
export class Capture {
  readonly processes: ProcessTable
  readonly features: KernelFeatures
  readonly #probes: Probes
  readonly #handler: CaptureHandler
  readonly #logger: CaptureLogger
  readonly #streams: StreamTable
  readonly #marks: TargetMarks
  readonly #discovery: LibraryDiscovery
  readonly #backlog = new Backlog()
  #readers: RecordReader[] = []
  #events = 0
  #bytes = 0
  #batches = 0
  #libraries = 0
  #attachFailures = 0
  #streamsEvicted = 0
  #stopping: Promise<void> | undefined
  /** The kernel's counters as they were at the end. */
  #finalCounters: KernelCounters | undefined

  private constructor(probes: Probes, options: CaptureOptions, handler: CaptureHandler) {
    this.#probes = probes
    this.#handler = handler
    this.#logger = options.logger
    this.features = probes.features
    this.processes = new ProcessTable({
      maxProcesses: MAX_PROCESSES,
      rememberMs: REMEMBER_PROCESS_MS,
      now: () => performance.now(),
    })
    this.#streams = new StreamTable(options.maxStreams)
    this.#marks = new TargetMarks(probes.object, options.targets, options.ignore)
    this.#discovery = new LibraryDiscovery({
      rescanIntervalMs: RESCAN_INTERVAL_MS,
      maxFiles: MAX_FILES,
      onLibrary: async (file) => {
        try {
          await this.#probes.attachLibrary(file)
          this.#libraries++
          const functions = file.plan.calls.map((call) => call.name)
          this.#logger.info({ path: file.path, library: file.library, functions }, 'probing a TLS library')
        } catch (error) {
          this.#attachFailures++
          this.#logger.warn({ path: file.path, err: error }, 'a TLS library cannot be probed')
        }
      },
      onFailure: (path, error) => this.#logger.debug({ path, err: error }, 'a file cannot be examined'),
    })
  }

  /** Resolves when every TLS library in use and in the linker's directories is probed. Throws with the kernel's reason. */
  static async start(options: CaptureOptions, handler: CaptureHandler): Promise<Capture> {
    const probes = Probes.load({
      ringBytes: options.ringBytes,
      maxStreams: options.maxStreams,
      agentPid: process.pid,
      targetMode: targetModeNumber(options.targets),
      without: options.without ?? [],
    })
    const capture = new Capture(probes, options, handler)
    await capture.#begin()
    return capture
  }

  /** Name of the library that a stream's plaintext was read in, such as "openssl"; undefined for a stream that ended. */
  libraryOf(streamId: bigint): string | undefined {
    const stream = this.#streams.find(streamId)
    return stream && this.#probes.libraryName(stream.libraryId)
  }

  /** Replaces the rules, for what runs already too. Without effect unless targets are "all". */
  ignore(rules: IgnoreRules): void {
    this.#marks.replaceRules(rules, this.processes.list())
  }

  stats(): CaptureStats {
    const kernel = this.#finalCounters ?? this.#probes.counters()
    return {
      events: this.#events,
      bytes: this.#bytes,
      batches: this.#batches,
      lostBytes: kernel.lostBytes,
      lostRecords: kernel.lostRecords,
      controlRecordsLost: kernel.controlLost,
      libraries: this.#libraries,
      probes: this.#probes.siteCount,
      probesByLibrary: Object.fromEntries(this.#probes.sitesByLibrary),
      attachFailures: this.#attachFailures,
      processes: this.processes.size,
      processesEvicted: this.processes.evicted,
      processesSkipped: this.#discovery.skipped,
      marksFailed: this.#marks.failed + kernel.marksLost,
      streams: this.#streams.size,
      streamsEvicted: this.#streamsEvicted,
      kernel,
    }
  }

  /** Detaches, hands over what the rings still hold, closes. Once only; later calls wait for the first. */
  stop(): Promise<void> {
    this.#stopping ??= this.#end()
    return this.#stopping
  }

  async #begin(): Promise<void> {
    for (const reason of this.features.degraded) this.#logger.warn({ reason }, 'the kernel lacks a feature')
    const { object } = this.#probes
    const buffers = object.startRings(
      {
        data: 'data_ring',
        control: 'control_ring',
        wakeup: 'wakeup',
        bufferBytes: BATCH_BUFFER_BYTES,
        buffers: BATCH_BUFFERS,
      },
      (...batch) => this.#guardBatch(...batch),
    )
    this.#readers = buffers.map((buffer) => new RecordReader(buffer))
    this.#marks.start(this.processes.scan())
    await this.#discovery.start()
  }

  async #end(): Promise<void> {
    await this.#discovery.stop()
    await this.#probes.object.detachAll()
    await this.#probes.object.finishRings()
    this.#applyAll(this.#backlog.takeRead(Number.POSITIVE_INFINITY))
    this.#handler.onBatchEnd()
    this.#finalCounters = this.#probes.counters()
    this.#probes.object.close()
  }

  /** Node swallows what a native callback throws: it is thrown again where it ends the process. */
  #guardBatch(...batch: Parameters<BatchCallback>): void {
    try {
      this.#onBatch(...batch)
    } catch (error) {
      setImmediate(() => {
        throw error
      })
    }
  }

  #onBatch(
    buffer: number,
    controlBytes: number,
    dataBytes: number,
    position: number,
    produced: number,
  ): void {
    const reader = this.#readers[buffer]
    if (reader === undefined) throw new Error(`batch in buffer ${buffer} of ${this.#readers.length}`)
    this.#batches++
    reader.forEach(0, controlBytes, (record) => this.#onControl(record, produced))
    reader.forEach(controlBytes, controlBytes + dataBytes, (record) => this.#onData(record))
    this.#applyAll(this.#backlog.takeRead(position))
    this.#handler.onBatchEnd()
  }

  /** Ends wait in the backlog: data comes first. */
  #onControl(record: KernelRecord, produced: number): void {
    switch (record.kind) {
      case 'open':
        for (const stream of this.#streams.open(record)) this.#evict(stream, record.timeNs)
        return
      case 'exec':
        this.#onExec(record, produced)
        return
      case 'fork':
        this.#onFork(record)
        return
      case 'socket':
        if (this.#backlog.nextImage(record.process.pid) === undefined) this.#emitWanted(record)
        else this.#backlog.push({ kind: 'other', event: record }, produced)
        return
      case 'close':
      case 'exit':
      case 'loss':
        this.#backlog.push({ kind: 'other', event: record }, produced)
        return
      case 'data':
        throw new Error('a data record in the control ring')
    }
  }

  #onData(record: KernelRecord): void {
    if (record.kind !== 'data' && record.kind !== 'loss')
      throw new Error(`a record of kind ${record.kind} in the data ring`)
    const { pid } = record.process
    if (this.#backlog.nextImage(pid) !== undefined)
      this.#applyAll(this.#backlog.takeReplaced(pid, record.timeNs))
    if (this.#marks.isIgnored(pid)) return
    const stream = this.#streams.find(record.streamId)
    if (stream !== undefined) stream.lastNs = record.timeNs
    if (record.kind === 'data') this.#bytes += record.bytes.length
    this.#emit(record)
  }

  /** Discovery is at once; what the process is changes when the data of the old program has been read. */
  #onExec(event: ExecEvent, produced: number): void {
    const { pid } = event.process
    this.#discovery.onExec(pid)
    const pending: PendingExec = {
      kind: 'exec',
      event,
      info: this.processes.describe(event),
      streams: this.#streams.ofProcess(event.process),
    }
    const mayHaveData = pending.streams.length > 0 || this.#backlog.nextImage(pid) !== undefined
    if (mayHaveData) this.#backlog.push(pending, produced)
    else this.#applyExec(pending)
  }

  #onFork(event: ForkEvent): void {
    const parent: ProcessInfo | undefined = this.#backlog.nextImage(event.parentPid)
    const child = this.processes.onFork(event, parent)
    // The mark of a parent whose exec waits is not made yet: there is none to inherit.
    if (parent !== undefined && child !== undefined) this.#marks.apply(child)
    else this.#marks.onFork(event.process.pid, event.parentPid)
    this.#emit(event)
  }

  #applyAll(pending: readonly PendingEvent[]): void {
    for (const each of pending) this.#apply(each)
  }

  #apply(pending: PendingEvent): void {
    if (pending.kind === 'exec') {
      this.#applyExec(pending)
      return
    }
    const { event } = pending
    if (event.kind === 'exit') {
      for (const stream of this.#streams.ofProcess(event.process)) this.#close(stream, event.timeNs)
      this.#discovery.onExit(event.process.pid)
      this.#marks.onExit(event.process.pid)
      this.#emit(event)
      this.processes.onExit(event)
      return
    }
    this.#emitWanted(event)
    if (event.kind === 'close') this.#streams.close(event.streamId)
  }

  #applyExec({ event, info, streams }: PendingExec): void {
    for (const stream of streams)
      if (this.#streams.find(stream.id) !== undefined) this.#close(stream, event.timeNs)
    this.processes.onExec(info)
    this.#marks.apply(info)
    this.#emit(event)
  }

  /** Ends a stream that the kernel side still knows. */
  #close(stream: Stream, timeNs: bigint): void {
    this.#probes.object.remove('streams', streamKey(stream))
    this.#emitWanted({ kind: 'close', process: stream.process, streamId: stream.id, timeNs })
    this.#streams.close(stream.id)
  }

  #evict(stream: Stream, timeNs: bigint): void {
    this.#streamsEvicted++
    this.#close(stream, timeNs)
  }

  #emitWanted(event: BpfEvent): void {
    if (!this.#marks.isIgnored(event.process.pid)) this.#emit(event)
  }

  #emit(event: BpfEvent): void {
    this.#events++
    this.#handler.onEvent(event, this)
  }
}

function streamKey(stream: Stream): Uint8Array {
  const at = structs.stream_key
  const bytes = new Uint8Array(at.bytes)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(at.object, stream.object, true)
  view.setBigUint64(at.start_ns, stream.process.startNs, true)
  view.setUint32(at.pid, stream.process.pid, true)
  view.setUint32(at.image, stream.image, true)
  return bytes
}
