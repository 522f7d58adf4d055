/** Whether this host can be observed, asked before anything is loaded or attached. */
import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { arch, platform, release } from 'node:os'

export type HostCheck =
  | { readonly ok: true }
  | {
      readonly ok: false
      /** Exit code of the program: 4 a privilege is missing, 5 the kernel or machine is not supported. */
      readonly exitCode: 4 | 5
      /** One line for people. */
      readonly message: string
    }

/** What the check looks at; the running host by default. */
export interface HostFacts {
  readonly platform: string
  readonly arch: string
  readonly release: string
  readonly hasKernelTypes: boolean
  /** Effective capabilities of this process. */
  readonly capabilities: bigint
  /** Link text of /proc/self/ns/pid. */
  readonly pidNamespace: string
  /** Text of /sys/kernel/security/lockdown, empty if there is none. */
  readonly lockdown: string
}

const OLDEST_KERNEL = [6, 1] as const
const KERNEL_TYPES = '/sys/kernel/btf/vmlinux'
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]'
const CAP_SYS_ADMIN = 21n
/** Bit and name; a process with CAP_SYS_ADMIN may do what the first two allow. */
const NEEDED: readonly (readonly [bit: bigint, name: string, why: string])[] = [
  [39n, 'CAP_BPF', 'to load programs'],
  [38n, 'CAP_PERFMON', 'to trace'],
  [19n, 'CAP_SYS_PTRACE', "to see other users' processes"],
]
const COVERED_BY_ADMIN = new Set(['CAP_BPF', 'CAP_PERFMON'])

/** The first reason why capture cannot work here, if any. */
export function checkHost(facts: HostFacts = hostFacts()): HostCheck {
  const unsupported = unsupportedReason(facts)
  if (unsupported !== undefined) return { ok: false, exitCode: 5, message: unsupported }
  const missing = missingCapabilities(facts.capabilities)
  if (missing.length === 0) return { ok: true }
  return {
    ok: false,
    exitCode: 4,
    message: `missing privilege: ${missing.join(', ')}. Run as root or grant these capabilities.`,
  }
}

function hostFacts(): HostFacts {
  const status = readIfPresent('/proc/self/status')
  return {
    platform: platform(),
    arch: arch(),
    release: release(),
    hasKernelTypes: existsSync(KERNEL_TYPES),
    capabilities: BigInt(`0x${/^CapEff:\s+([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`),
    pidNamespace: platform() === 'linux' ? readlinkSync('/proc/self/ns/pid') : '',
    lockdown: readIfPresent('/sys/kernel/security/lockdown'),
  }
}

function unsupportedReason(facts: HostFacts): string | undefined {
  if (facts.platform !== 'linux') return `unsupported system: ${facts.platform}; Cleartap observes Linux`
  if (facts.arch !== 'x64') return `unsupported machine: ${facts.arch}; x64 is supported`
  const [major = 0, minor = 0] = facts.release.split('.').map((part) => Number.parseInt(part, 10))
  const [oldestMajor, oldestMinor] = OLDEST_KERNEL
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor))
    return `unsupported kernel: ${facts.release}; Linux ${OLDEST_KERNEL.join('.')} or later is needed`
  if (!facts.hasKernelTypes)
    return `unsupported kernel: ${KERNEL_TYPES} is missing; it must be built with CONFIG_DEBUG_INFO_BTF=y`
  if (facts.lockdown.includes('[confidentiality]'))
    return 'unsupported kernel: locked down for confidentiality, which forbids tracing; "integrity" or none is needed'
  if (facts.pidNamespace !== INITIAL_PID_NAMESPACE)
    return `unsupported environment: pid namespace ${facts.pidNamespace}; run in the host's (container: --pid=host)`
  return undefined
}

function missingCapabilities(capabilities: bigint): string[] {
  const has = (bit: bigint) => (capabilities & (1n << bit)) !== 0n
  return NEEDED.flatMap(([bit, name, why]) => {
    const covered = COVERED_BY_ADMIN.has(name) && has(CAP_SYS_ADMIN)
    return has(bit) || covered ? [] : [`${name} (${why})`]
  })
}

function readIfPresent(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
