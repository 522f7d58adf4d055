/**
 * What the kernel side reports, as a discriminated union. Layouts are those of bpf/events.h.
 *
 * Times are CLOCK_BOOTTIME nanoseconds (kernel: bpf_ktime_get_boot_ns). Ids are unique for the life of the agent.
 */

/** A process by pid and start time: pids are reused, the pair is not. */
export interface ProcessKey {
  /** Thread group id in the initial pid namespace. */
  readonly pid: number
  /** Start time since boot, nanoseconds. */
  readonly startNs: bigint
}

/** Which way plaintext went, as the process saw it. */
export type FlowDirection = 'read' | 'write'

/** How sure the match between TLS object and socket is; see cleartap.event.v1.PeerConfidence. */
export type Confidence = 'unknown' | 'inferred' | 'exact'

/** Which end of the connection the process is. */
export type Role = 'client' | 'server' | 'unknown'

/** A piece of one read or write call's plaintext. Long calls come as several, in order. */
export interface DataEvent {
  readonly kind: 'data'
  readonly process: ProcessKey
  readonly threadId: number
  /** The TLS object's life: from first use to SSL_free, SSL_clear or exit. */
  readonly streamId: bigint
  readonly direction: FlowDirection
  /** When the bytes were handed over: the return of a read, the entry of a write. */
  readonly timeNs: bigint
  /** Rises by one with each record of this stream and direction, lost ones included. */
  readonly sequence: number
  /** Offset of the first byte in this stream and direction, lost bytes counted. */
  readonly offset: bigint
  /** A view into the ring batch: valid only until the callback returns. Who keeps bytes copies them. */
  readonly bytes: Uint8Array
}

/** Bytes of a stream that were not delivered. Comes before the next data of that stream and direction. */
export interface LossEvent {
  readonly kind: 'loss'
  readonly process: ProcessKey
  readonly streamId: bigint
  readonly direction: FlowDirection
  readonly timeNs: bigint
  readonly offset: bigint
  readonly bytes: bigint
  readonly reason: LossReason
}

export type LossReason = 'ring_full' | 'fault' | 'truncated' | 'table_full'

/** The socket below a stream: sent when first matched and when a better match is found. */
export interface SocketEvent {
  readonly kind: 'socket'
  readonly process: ProcessKey
  readonly streamId: bigint
  readonly timeNs: bigint
  readonly cookie: bigint
  readonly confidence: Confidence
  readonly role: Role
  /** 4 or 16 bytes in network order, already copied; IPv4-mapped IPv6 comes as 4. */
  readonly localAddress: Uint8Array
  readonly localPort: number
  readonly remoteAddress: Uint8Array
  readonly remotePort: number
}

/** The stream ended: object freed or reset, or its process gone. */
export interface CloseEvent {
  readonly kind: 'close'
  readonly process: ProcessKey
  readonly streamId: bigint
  readonly timeNs: bigint
}

export interface ExecEvent {
  readonly kind: 'exec'
  readonly process: ProcessKey
  readonly parentPid: number
  readonly timeNs: bigint
  readonly uid: number
  readonly cgroupId: bigint
  readonly comm: string
  /** Absolute path of the executable in its mount namespace, as far as 4 KiB hold it. */
  readonly exe: string
  /** Up to 512 bytes of the argument vector. */
  readonly argv: readonly string[]
}

/** A fork that made a new process (not a thread). */
export interface ForkEvent {
  readonly kind: 'fork'
  readonly process: ProcessKey
  readonly parentPid: number
  readonly timeNs: bigint
}

/** The last thread of the process is gone. */
export interface ExitEvent {
  readonly kind: 'exit'
  readonly process: ProcessKey
  readonly timeNs: bigint
  /** As wait(2) gives it: exit status << 8, or the signal. */
  readonly status: number
}

export type BpfEvent = DataEvent | LossEvent | SocketEvent | CloseEvent | ExecEvent | ForkEvent | ExitEvent
