/** Kernel records (bpf/events.h) as events. */
import type {
  BpfEvent,
  CloseEvent,
  Confidence,
  DataEvent,
  ExecEvent,
  ExitEvent,
  FlowDirection,
  ForkEvent,
  LossEvent,
  LossReason,
  ProcessKey,
  Role,
  SocketEvent,
} from './events.js'
import { enums, recordKind, structs } from './layout.js'

/** A TLS object was seen for the first time. */
export interface OpenRecord {
  readonly kind: 'open'
  readonly process: ProcessKey
  readonly timeNs: bigint
  readonly streamId: bigint
  /** Address of the object: with the process the key of the kernel's stream table. */
  readonly object: bigint
  /** Tells the programs apart that a process becomes by exec. */
  readonly image: number
  readonly libraryId: number
}

export type KernelRecord = BpfEvent | OpenRecord

const directions: readonly FlowDirection[] = ['read', 'write']
const reasons: readonly LossReason[] = ['ring_full', 'fault', 'truncated', 'table_full']
const confidences: readonly Confidence[] = ['unknown', 'inferred', 'exact']
const roles: readonly Role[] = ['unknown', 'client', 'server']

const HEADER_BYTES = 8
const BUSY_BIT = 0x80000000
const DISCARD_BIT = 0x40000000
const LENGTH_MASK = 0x3fffffff
const { ARGV_BYTES, COMM_BYTES } = enums.limits
const data = structs.data_record
const loss = structs.loss_record
const open = structs.open_record
const socket = structs.socket_record
const close = structs.close_record
const exec = structs.exec_record
const fork = structs.fork_record
const exit = structs.exit_record

/** Reads the records of one ring batch buffer, which it views for as long as the rings are read. */
export class RecordReader {
  readonly #bytes: Buffer
  readonly #words: Uint32Array
  readonly #longs: BigUint64Array
  #lastProcess: ProcessKey = { pid: 0, startNs: 0n }

  constructor(buffer: ArrayBuffer) {
    this.#bytes = Buffer.from(buffer)
    this.#words = new Uint32Array(buffer)
    this.#longs = new BigUint64Array(buffer)
  }

  /** Visits the records between two byte positions. Throws if the framing is not the kernel's. */
  forEach(from: number, to: number, visit: (record: KernelRecord) => void): void {
    let at = from
    while (at < to) {
      const header = this.#words[at >> 2] ?? BUSY_BIT
      const length = header & LENGTH_MASK
      if (header & BUSY_BIT || at + HEADER_BYTES + length > to)
        throw new Error(`ring record of ${length} bytes at ${at} does not end before ${to}`)
      if (!(header & DISCARD_BIT)) visit(this.#decode(at + HEADER_BYTES, length))
      at = (at + HEADER_BYTES + length + 7) & ~7
    }
  }

  #decode(at: number, length: number): KernelRecord {
    const kind = (this.#words[at >> 2] ?? 0) & 0xffff
    switch (kind) {
      case recordKind.RECORD_DATA:
        return this.#data(at)
      case recordKind.RECORD_LOSS:
        return this.#loss(at)
      case recordKind.RECORD_OPEN:
        return this.#open(at)
      case recordKind.RECORD_SOCKET:
        return this.#socket(at)
      case recordKind.RECORD_CLOSE:
        return this.#close(at)
      case recordKind.RECORD_EXEC:
        return this.#exec(at)
      case recordKind.RECORD_FORK:
        return this.#fork(at)
      case recordKind.RECORD_EXIT:
        return this.#exit(at)
      default:
        throw new Error(`ring record of kind ${kind} and ${length} bytes; kinds 1 to 8 are known`)
    }
  }

  #u16(at: number): number {
    return this.#bytes.readUInt16LE(at)
  }

  #u32(at: number): number {
    return this.#words[at >> 2] ?? 0
  }

  #u64(at: number): bigint {
    return this.#longs[at >> 3] ?? 0n
  }

  /** Records of one process come in runs: one object serves a run. */
  #process(pidAt: number, startAt: number): ProcessKey {
    const pid = this.#u32(pidAt)
    const startNs = this.#u64(startAt)
    if (this.#lastProcess.pid !== pid || this.#lastProcess.startNs !== startNs)
      this.#lastProcess = { pid, startNs }
    return this.#lastProcess
  }

  #data(at: number): DataEvent {
    const length = this.#u32(at + data.length)
    const payload = at + data.bytes
    return {
      kind: 'data',
      process: this.#process(at + data.pid, at + data.start_ns),
      threadId: this.#u32(at + data.thread_id),
      streamId: this.#u64(at + data.stream_id),
      direction: this.#u32(at) >>> 16 === 0 ? 'read' : 'write',
      timeNs: this.#u64(at + data.time_ns),
      sequence: this.#u32(at + data.sequence),
      offset: this.#u64(at + data.offset),
      bytes: this.#bytes.subarray(payload, payload + length),
    }
  }

  #loss(at: number): LossEvent {
    return {
      kind: 'loss',
      process: this.#process(at + loss.pid, at + loss.start_ns),
      streamId: this.#u64(at + loss.stream_id),
      direction: directions[this.#u16(at + loss.direction)] ?? 'read',
      timeNs: this.#u64(at + loss.time_ns),
      offset: this.#u64(at + loss.offset),
      bytes: this.#u64(at + loss.lost_bytes),
      reason: reasons[this.#u32(at + loss.reason)] ?? 'ring_full',
    }
  }

  #open(at: number): OpenRecord {
    return {
      kind: 'open',
      process: this.#process(at + open.pid, at + open.start_ns),
      timeNs: this.#u64(at + open.time_ns),
      streamId: this.#u64(at + open.stream_id),
      object: this.#u64(at + open.object),
      image: this.#u32(at + open.image),
      libraryId: this.#u32(at + open.library_id),
    }
  }

  #socket(at: number): SocketEvent {
    return {
      kind: 'socket',
      process: this.#process(at + socket.pid, at + socket.start_ns),
      streamId: this.#u64(at + socket.stream_id),
      timeNs: this.#u64(at + socket.time_ns),
      cookie: this.#u64(at + socket.cookie),
      confidence: confidences[this.#bytes[at + socket.confidence] ?? 0] ?? 'unknown',
      role: roles[this.#bytes[at + socket.role] ?? 0] ?? 'unknown',
      localAddress: this.#address(at + socket.local_address),
      localPort: this.#u16(at + socket.local_port),
      remoteAddress: this.#address(at + socket.remote_address),
      remotePort: this.#u16(at + socket.remote_port),
    }
  }

  /** IPv4 stands as ::ffff:a.b.c.d, from IPv4 sockets and from IPv6 ones alike. */
  #address(at: number): Uint8Array {
    const mapped = this.#u64(at) === 0n && this.#u32(at + 8) === 0xffff0000
    return Uint8Array.from(this.#bytes.subarray(mapped ? at + 12 : at, at + 16))
  }

  #close(at: number): CloseEvent {
    return {
      kind: 'close',
      process: this.#process(at + close.pid, at + close.start_ns),
      streamId: this.#u64(at + close.stream_id),
      timeNs: this.#u64(at + close.time_ns),
    }
  }

  #exec(at: number): ExecEvent {
    const argvAt = at + exec.bytes
    const pathAt = argvAt + ARGV_BYTES
    return {
      kind: 'exec',
      process: this.#process(at + exec.pid, at + exec.start_ns),
      parentPid: this.#u32(at + exec.parent_pid),
      timeNs: this.#u64(at + exec.time_ns),
      uid: this.#u32(at + exec.uid),
      cgroupId: this.#u64(at + exec.cgroup_id),
      comm: untilNul(this.#bytes.toString('utf8', at + exec.comm, at + exec.comm + COMM_BYTES)),
      exe: joinPath(
        this.#bytes.toString('utf8', pathAt, pathAt + this.#u16(at + exec.path_bytes)),
        this.#u16(at + exec.path_complete) === 1,
      ),
      argv: splitArguments(this.#bytes.toString('utf8', argvAt, argvAt + this.#u16(at + exec.argv_bytes))),
    }
  }

  #fork(at: number): ForkEvent {
    return {
      kind: 'fork',
      process: this.#process(at + fork.pid, at + fork.start_ns),
      parentPid: this.#u32(at + fork.parent_pid),
      timeNs: this.#u64(at + fork.time_ns),
    }
  }

  #exit(at: number): ExitEvent {
    return {
      kind: 'exit',
      process: this.#process(at + exit.pid, at + exit.start_ns),
      timeNs: this.#u64(at + exit.time_ns),
      status: this.#u32(at + exit.status),
    }
  }
}

function untilNul(text: string): string {
  const end = text.indexOf('\0')
  return end < 0 ? text : text.slice(0, end)
}

/** Components come leaf first, each ended by NUL. A path cut at the root side begins with "...". */
function joinPath(components: string, complete: boolean): string {
  const names = components.split('\0').slice(0, -1).reverse()
  if (names.length === 0) return ''
  return `${complete ? '' : '...'}/${names.join('/')}`
}

/** NUL-separated arguments; the last may be cut. */
export function splitArguments(text: string): string[] {
  if (text === '') return []
  return (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0')
}
