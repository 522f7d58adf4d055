/** The loaded BPF object: what this kernel can do, the tracing programs, the probes in TLS libraries. */
import type { LibraryFile } from '../tls/discovery.js'
import { enums, structs } from './layout.js'
import {
  type BpfObject,
  loadNative,
  type Native,
  objectPath,
  type ProgramSettings,
  type UprobeKind,
} from './native.js'

export interface KernelFeatures {
  readonly uprobes: UprobeKind
  /** User memory is copied into the ring in exact sizes; else in four size classes. */
  readonly userDynptr: boolean
  /** Payload in pages that are not resident is brought in; else it is lost and counted. */
  readonly sleepable: boolean
  /** Sockets of TLS objects are seen. */
  readonly socketTracing: boolean
  /** What is missing and what that costs; one sentence each. */
  readonly degraded: readonly string[]
}

export interface ProbesOptions {
  readonly ringBytes: number
  readonly maxStreams: number
  readonly agentPid: number
  readonly targetMode: number
  /** What the kernel has but shall not be used: the ways of older kernels can be tried on a new one. */
  readonly without: readonly OptionalFeature[]
}

/** Ways that need a recent kernel. */
export type OptionalFeature =
  | 'uprobe_session'
  | 'uprobe_multi'
  | 'user_dynptr'
  | 'sleepable'
  | 'socket_tracing'

/** Counters of the kernel side; see struct counters in bpf/events.h. */
export interface KernelCounters {
  readonly lostBytes: Readonly<Record<'ring_full' | 'fault' | 'truncated' | 'table_full', number>>
  readonly lostRecords: Readonly<Record<'ring_full' | 'fault' | 'truncated' | 'table_full', number>>
  readonly controlLost: number
  readonly marksLost: number
  readonly depthOverflow: number
  readonly staleCalls: number
  readonly storageFailed: number
  readonly socketAmbiguous: number
}

const CONTROL_RING_BYTES = 1024 * 1024
const MAX_PROCESSES = 65_536
/** Room above the agent's own limit: the agent evicts, the kernel's table should not be full before it has. */
const STREAM_SLACK = 1.25
const ATTACH_MULTI = 48
const ATTACH_SESSION = 57
const AS_DECLARED = -1
const LIBRARY_SHIFT = 256
const { COUNT_RETURN, COUNT_OUT4, COUNT_OUT5 } = enums.count_source
const countSource = { return: COUNT_RETURN, fourth: COUNT_OUT4, fifth: COUNT_OUT5 } as const

export class Probes {
  readonly features: KernelFeatures
  readonly object: BpfObject
  /** Probed instructions. */
  siteCount = 0
  /** The same by library. */
  readonly sitesByLibrary = new Map<string, number>()
  readonly #libraries: string[] = []

  private constructor(object: BpfObject, features: KernelFeatures) {
    this.object = object
    this.features = features
  }

  /** Loads the object and attaches the tracing programs. Throws with the kernel's reason. */
  static load(options: ProbesOptions): Probes {
    const native = loadNative()
    const features = detectFeatures(native, options.without)
    const object = new native.BpfObject({
      path: objectPath,
      constants: {
        agent_pid: options.agentPid,
        target_mode: options.targetMode,
        has_user_dynptr: features.userDynptr ? 1 : 0,
        can_sleep: features.sleepable ? 1 : 0,
      },
      mapEntries: {
        data_ring: options.ringBytes,
        control_ring: CONTROL_RING_BYTES,
        streams: Math.ceil(options.maxStreams * STREAM_SLACK),
        processes: MAX_PROCESSES,
      },
      programs: programSettings(features),
    })
    const probes = new Probes(object, features)
    for (const program of tracingPrograms(features)) object.attachTracing(program)
    return probes
  }

  /** Name of the library that probes with this id stand in. */
  libraryName(id: number): string | undefined {
    return this.#libraries[id]
  }

  async attachLibrary(file: LibraryFile): Promise<void> {
    const libraryId = this.#libraries.push(file.library) - 1
    const sites = file.plan.calls.map((call) => ({
      offset: call.offset,
      cookie: (call.direction === 'write' ? 1 : 0) + countSource[call.count] * 2 + libraryId * LIBRARY_SHIFT,
    }))
    const { path } = file
    const kind = this.features.uprobes
    if (kind === 'session') {
      await this.object.attachUprobes({ program: 'tls_session', path, kind, onReturn: false, sites })
    } else {
      await this.object.attachUprobes({ program: 'tls_return', path, kind, onReturn: true, sites })
      await this.object.attachUprobes({ program: 'tls_entry', path, kind, onReturn: false, sites })
    }
    const ends = file.plan.ends.map((offset) => ({ offset, cookie: 0 }))
    const endKind = kind === 'perf' ? 'perf' : 'multi'
    if (ends.length > 0)
      await this.object.attachUprobes({
        program: 'tls_free',
        path,
        kind: endKind,
        onReturn: false,
        sites: ends,
      })
    const count = sites.length + ends.length
    this.siteCount += count
    this.sitesByLibrary.set(file.library, (this.sitesByLibrary.get(file.library) ?? 0) + count)
  }

  counters(): KernelCounters {
    const value = this.object.lookup('counters', new Uint8Array(4))
    if (value === null) throw new Error('the map "counters" has no entry 0')
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
    const at = structs.counters
    const number = (offset: number) => Number(view.getBigUint64(offset, true))
    const byReason = (offset: number) => ({
      ring_full: number(offset),
      fault: number(offset + 8),
      truncated: number(offset + 16),
      table_full: number(offset + 24),
    })
    return {
      lostBytes: byReason(at.lost_bytes),
      lostRecords: byReason(at.lost_records),
      controlLost: number(at.control_lost),
      marksLost: number(at.marks_lost),
      depthOverflow: number(at.depth_overflow),
      staleCalls: number(at.stale_calls),
      storageFailed: number(at.storage_failed),
      socketAmbiguous: number(at.socket_ambiguous),
    }
  }
}

function detectFeatures(native: Native, without: readonly OptionalFeature[]): KernelFeatures {
  const degraded: string[] = []
  const allowed = (feature: OptionalFeature) => !without.includes(feature)
  const session =
    allowed('uprobe_session') &&
    native.kernelHasUprobeLink(ATTACH_SESSION) &&
    native.kernelHasType('function', 'bpf_session_is_return')
  const multi = allowed('uprobe_multi') && native.kernelHasUprobeLink(ATTACH_MULTI)
  if (!session)
    degraded.push(
      'no uprobe sessions (Linux 6.13): calls of processes that are left alone cost a return probe too',
    )
  if (!multi)
    degraded.push('no uprobe_multi links (Linux 6.6): a perf event for each probe, slower to detach')
  const userDynptr = allowed('user_dynptr') && native.kernelHasType('function', 'bpf_probe_read_user_dynptr')
  if (!userDynptr)
    degraded.push('no user reads into dynptrs (Linux 6.16): records take more room in the ring')
  const socketTracing =
    allowed('socket_tracing') && native.kernelHasType('typedef', 'btf_trace_sock_send_length')
  if (!socketTracing)
    degraded.push('no tracepoints sock_send_length and sock_recv_length (Linux 6.3): addresses stay unknown')
  const sleepable = allowed('sleepable')
  const uprobes = session ? 'session' : multi ? 'multi' : 'perf'
  return { uprobes, userDynptr, sleepable, socketTracing, degraded }
}

function tracingPrograms(features: KernelFeatures): string[] {
  const sockets = features.socketTracing ? ['socket_sent', 'socket_received', 'socket_changed'] : []
  return [...sockets, 'process_exec', 'process_fork', 'process_exit']
}

function programSettings(features: KernelFeatures): Record<string, ProgramSettings> {
  const isSession = features.uprobes === 'session'
  const multi = features.uprobes === 'perf' ? AS_DECLARED : ATTACH_MULTI
  const { sleepable } = features
  const socket = { load: features.socketTracing, attachType: AS_DECLARED, sleepable: false }
  return {
    tls_session: { load: isSession, attachType: ATTACH_SESSION, sleepable },
    tls_entry: { load: !isSession, attachType: multi, sleepable: false },
    tls_return: { load: !isSession, attachType: multi, sleepable },
    tls_free: { load: true, attachType: multi, sleepable: false },
    socket_sent: socket,
    socket_received: socket,
    socket_changed: socket,
  }
}
