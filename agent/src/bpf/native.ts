/** The addon's types, and the one place that loads it. Same names and order as agent/native/src/addon.cc. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

export interface ProgramSettings {
  readonly load: boolean
  /** enum bpf_attach_type; -1: as the object's section says. */
  readonly attachType: number
  readonly sleepable: boolean
}

export interface LoadSettings {
  readonly path: string
  /** Values of `const volatile` variables by name. */
  readonly constants: Readonly<Record<string, number>>
  /** Capacity of maps by name; bytes for ring buffers. */
  readonly mapEntries: Readonly<Record<string, number>>
  readonly programs: Readonly<Record<string, ProgramSettings>>
}

export interface UprobeSite {
  /** File offset. */
  readonly offset: number
  /** Handed to the program by bpf_get_attach_cookie. */
  readonly cookie: number
}

export interface UprobeSettings {
  readonly program: string
  readonly path: string
  readonly kind: UprobeKind
  readonly onReturn: boolean
  readonly sites: readonly UprobeSite[]
}

/** session: entry and return in one link (6.13); multi: one link for many offsets (6.6); perf: an event each. */
export type UprobeKind = 'session' | 'multi' | 'perf'

export interface RingSettings {
  readonly data: string
  readonly control: string
  /** A mappable array whose first value the reader sets to 1 while it sleeps. */
  readonly wakeup: string
  readonly bufferBytes: number
  readonly buffers: number
}

/**
 * Called once a batch: in buffer number `buffer` stand `controlBytes` of control records and right behind them
 * `dataBytes` of data records, each with the kernel's 8-byte header. The buffer is reused when the call returns.
 * dataPosition: how far the data ring has been handed over; dataProduced: how far it was filled when the control
 * records had been read.
 */
export type BatchCallback = (
  buffer: number,
  controlBytes: number,
  dataBytes: number,
  dataPosition: number,
  dataProduced: number,
) => void

/** A loaded object. Methods throw plain errors with the kernel's reason. */
export interface BpfObject {
  attachTracing(program: string): number
  attachUprobes(settings: UprobeSettings): Promise<number>
  detach(ids: readonly number[]): Promise<number>
  detachAll(): Promise<number>
  lookup(map: string, key: Uint8Array): Uint8Array | null
  update(map: string, key: Uint8Array, value: Uint8Array): void
  remove(map: string, key: Uint8Array): void
  startRings(settings: RingSettings, onBatch: BatchCallback): ArrayBuffer[]
  /** Hands over what is left, then resolves. */
  finishRings(): Promise<void>
  close(): void
}

export interface Native {
  readonly BpfObject: new (settings: LoadSettings) => BpfObject
  /** Whether the running kernel's BTF has the type. */
  kernelHasType(kind: 'function' | 'typedef' | 'struct', name: string): boolean
  /** Whether the kernel makes uprobe links of this attach type: 48 multi, 57 session. */
  kernelHasUprobeLink(attachType: number): boolean
}

const addonPath = fileURLToPath(new URL('../../native/cleartap.node', import.meta.url))

/** Path of the compiled BPF object. */
export const objectPath: string = fileURLToPath(new URL('../../../bpf/cleartap.bpf.o', import.meta.url))

/** Throws if the addon or the object has not been built. */
export function loadNative(): Native {
  for (const path of [addonPath, objectPath])
    if (!existsSync(path)) throw new Error(`${path} is missing: run node agent/native/build.mjs`)
  return createRequire(import.meta.url)(addonPath) as Native
}
