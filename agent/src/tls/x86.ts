/**
 * Length decoder for 64-bit x86 code: how long an instruction is, what kind it is, where it branches.
 * Source: Intel SDM volume 2, chapter 2 and the opcode maps of appendix A. Refuses what it does not know.
 */

/** `cheap` kinds are those that the kernel emulates at a probe instead of stepping over them (uprobes.c). */
export type InstructionKind = 'push' | 'nop' | 'jump' | 'branch' | 'call' | 'return' | 'compare' | 'other'

export interface Instruction {
  readonly length: number
  readonly kind: InstructionKind
  /** Whether the kernel emulates it at a probe. */
  readonly emulated: boolean
  /** Target relative to the instruction's first byte, for direct jump, branch, call. */
  readonly target: number | undefined
  /** Number of the general register that ModRM.reg or the opcode names, REX included; undefined without. */
  readonly register: number | undefined
  /** Number of the general register in ModRM.rm, if it names a register and not memory. */
  readonly second: number | undefined
  readonly opcode: number
  readonly map: OpcodeMap
}

type OpcodeMap = 'one' | '0f' | '0f38' | '0f3a' | 'vector'

const MAX_LENGTH = 15

/** What follows an opcode of the one-byte map: m ModRM, b 1 byte, w 2, z 4 or 2, v 8/4/2, r 1-byte branch, R 4-byte branch, a address, x refused. */
const ONE_BYTE: readonly string[] = buildOneByteMap()
const TWO_BYTE_PLAIN = new Set([
  0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x0e, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x37, 0x77, 0xa0, 0xa1, 0xa2,
  0xa8, 0xa9, 0xaa, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf,
])
const TWO_BYTE_IMMEDIATE = new Set([0x0f, 0x70, 0x71, 0x72, 0x73, 0xa4, 0xac, 0xba, 0xc2, 0xc4, 0xc5, 0xc6])
const TWO_BYTE_REFUSED = new Set([
  0x04, 0x0a, 0x0c, 0x24, 0x25, 0x26, 0x27, 0x36, 0x39, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0xa6, 0xa7,
])

function buildOneByteMap(): string[] {
  const map: string[] = new Array<string>(256).fill('')
  const set = (from: number, to: number, code: string) => map.fill(code, from, to + 1)
  for (let block = 0; block < 0x40; block += 8) {
    set(block, block + 3, 'm')
    set(block + 4, block + 4, 'b')
    set(block + 5, block + 5, 'z')
    set(block + 6, block + 7, 'x')
  }
  set(0x60, 0x62, 'x')
  set(0x63, 0x63, 'm')
  set(0x68, 0x68, 'z')
  set(0x69, 0x69, 'mz')
  set(0x6a, 0x6a, 'b')
  set(0x6b, 0x6b, 'mb')
  set(0x70, 0x7f, 'r')
  set(0x80, 0x80, 'mb')
  set(0x81, 0x81, 'mz')
  set(0x82, 0x82, 'x')
  set(0x83, 0x83, 'mb')
  set(0x84, 0x8f, 'm')
  set(0x9a, 0x9a, 'x')
  set(0xa0, 0xa3, 'a')
  set(0xa8, 0xa8, 'b')
  set(0xa9, 0xa9, 'z')
  set(0xb0, 0xb7, 'b')
  set(0xb8, 0xbf, 'v')
  set(0xc0, 0xc1, 'mb')
  set(0xc2, 0xc2, 'w')
  set(0xc4, 0xc5, 'x')
  set(0xc6, 0xc6, 'mb')
  set(0xc7, 0xc7, 'mz')
  set(0xc8, 0xc8, 'wb')
  set(0xca, 0xca, 'w')
  set(0xcd, 0xcd, 'b')
  set(0xce, 0xce, 'x')
  set(0xd0, 0xd3, 'm')
  set(0xd4, 0xd6, 'x')
  set(0xd8, 0xdf, 'm')
  set(0xe0, 0xe3, 'r')
  set(0xe4, 0xe7, 'b')
  set(0xe8, 0xe9, 'R')
  set(0xea, 0xea, 'x')
  set(0xeb, 0xeb, 'r')
  set(0xf6, 0xf7, 'm')
  set(0xfe, 0xff, 'm')
  return map
}

interface Prefixes {
  at: number
  operand16: boolean
  address32: boolean
  rex: number
  other: boolean
}

function readPrefixes(code: Uint8Array, start: number): Prefixes {
  const state = { at: start, operand16: false, address32: false, rex: 0, other: false }
  for (; state.at < start + MAX_LENGTH; state.at++) {
    const byte = code[state.at] ?? -1
    if (byte === 0x66) state.operand16 = true
    else if (byte === 0x67) state.address32 = true
    else if ([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0, 0xf2, 0xf3].includes(byte)) state.other = true
    else break
  }
  const byte = code[state.at] ?? -1
  if (byte >= 0x40 && byte <= 0x4f) {
    state.rex = byte
    state.at++
  }
  return state
}

/** Bytes of ModRM, SIB and displacement; undefined past the end of the code. */
function modrmLength(code: Uint8Array, at: number): number | undefined {
  const modrm = code[at]
  if (modrm === undefined) return undefined
  const mode = modrm >> 6
  const memory = modrm & 7
  if (mode === 3) return 1
  if (memory !== 4) return mode === 0 ? (memory === 5 ? 5 : 1) : mode === 1 ? 2 : 5
  const sib = code[at + 1]
  if (sib === undefined) return undefined
  return mode === 0 ? ((sib & 7) === 5 ? 6 : 2) : mode === 1 ? 3 : 6
}

function vectorInstruction(code: Uint8Array, start: number, at: number): Instruction | undefined {
  const first = code[at] ?? 0
  const second = code[at + 1] ?? 0
  const map = first === 0xc5 ? 1 : first === 0xc4 ? second & 0x1f : second & 7
  const opcodeAt = at + (first === 0xc5 ? 2 : first === 0xc4 ? 3 : 4)
  const opcode = code[opcodeAt]
  if (opcode === undefined || map < 1 || map > 6 || (first !== 0x62 && map > 3)) return undefined
  const plain = map === 1 && opcode === 0x77 && first !== 0x62
  const modrm = plain ? 0 : modrmLength(code, opcodeAt + 1)
  if (modrm === undefined) return undefined
  const immediate = map === 3 || (map === 1 && TWO_BYTE_IMMEDIATE.has(opcode)) ? 1 : 0
  return finish(code, start, opcodeAt + 1 + modrm + immediate, { opcode, map: 'vector' })
}

function finish(
  code: Uint8Array,
  start: number,
  end: number,
  known: Partial<Instruction> & Pick<Instruction, 'opcode' | 'map'>,
): Instruction | undefined {
  const length = end - start
  if (length > MAX_LENGTH || end > code.length) return undefined
  return {
    kind: 'other',
    emulated: false,
    target: undefined,
    register: undefined,
    second: undefined,
    ...known,
    length,
  }
}

function signedAt(code: Uint8Array, at: number, bytes: number): number {
  let value = 0
  for (let i = bytes - 1; i >= 0; i--) value = value * 256 + (code[at + i] ?? 0)
  return value >= 2 ** (bytes * 8 - 1) ? value - 2 ** (bytes * 8) : value
}

function classify(opcode: number, reg: number, prefixed: boolean): [InstructionKind, boolean] {
  if (opcode >= 0x50 && opcode <= 0x57) return ['push', !prefixed]
  if (opcode === 0x90) return ['nop', !prefixed]
  if (opcode >= 0x70 && opcode <= 0x7f) return ['branch', !prefixed]
  if (opcode >= 0xe0 && opcode <= 0xe3) return ['branch', false]
  if (opcode === 0xe8) return ['call', !prefixed]
  if (opcode === 0xe9 || opcode === 0xeb) return ['jump', !prefixed]
  if ([0xc2, 0xc3, 0xca, 0xcb, 0xcf].includes(opcode)) return ['return', false]
  if (opcode === 0xff && (reg === 4 || reg === 5)) return ['jump', false]
  const compares = (opcode >= 0x38 && opcode <= 0x3d) || [0x84, 0x85, 0xa8, 0xa9].includes(opcode)
  const grouped = (opcode >= 0x80 && opcode <= 0x83 && reg === 7) || ((opcode & 0xfe) === 0xf6 && reg < 2)
  return [compares || grouped ? 'compare' : 'other', false]
}

function immediateBytes(part: string, z: number, wide: boolean, address32: boolean): number {
  switch (part) {
    case 'b':
    case 'r':
      return 1
    case 'w':
      return 2
    case 'z':
      return z
    case 'R':
      return 4
    case 'v':
      return wide ? 8 : z
    case 'a':
      return address32 ? 4 : 8
    default:
      return 0
  }
}

function oneByteInstruction(code: Uint8Array, start: number, prefixes: Prefixes): Instruction | undefined {
  const opcode = code[prefixes.at] ?? 0
  const wide = (prefixes.rex & 8) !== 0
  const z = prefixes.operand16 && !wide ? 2 : 4
  let at = prefixes.at + 1
  let pattern = ONE_BYTE[opcode] ?? 'x'
  let modrm: number | undefined
  if (pattern.startsWith('m')) {
    modrm = code[at]
    const bytes = modrmLength(code, at)
    if (modrm === undefined || bytes === undefined) return undefined
    at += bytes
    if ((opcode & 0xfe) === 0xf6 && (modrm & 0x38) < 0x10) pattern = opcode === 0xf6 ? 'mb' : 'mz'
    if (opcode === 0x8f && (modrm & 0x38) !== 0) return undefined
  }
  const branchBytes = pattern === 'r' ? 1 : pattern === 'R' ? 4 : 0
  if (pattern === 'x' || (pattern === 'R' && prefixes.operand16)) return undefined
  const branchAt = at
  for (const part of pattern) at += immediateBytes(part, z, wide, prefixes.address32)
  const isPush = opcode >= 0x50 && opcode <= 0x57
  const rexMatters = prefixes.rex !== 0 && !(isPush && prefixes.rex === 0x41)
  const prefixed = prefixes.operand16 || prefixes.address32 || prefixes.other || rexMatters
  const reg = modrm === undefined ? 0 : (modrm >> 3) & 7
  const [kind, emulated] = classify(opcode, reg, prefixed)
  const fromOpcode = (opcode >= 0xb8 && opcode <= 0xbf) || (opcode >= 0x50 && opcode <= 0x5f)
  const register = fromOpcode
    ? (opcode & 7) | ((prefixes.rex & 1) << 3)
    : modrm === undefined
      ? undefined
      : reg | ((prefixes.rex & 4) << 1)
  const second = modrm !== undefined && modrm >> 6 === 3 ? (modrm & 7) | ((prefixes.rex & 1) << 3) : undefined
  const target = branchBytes > 0 ? at - start + signedAt(code, branchAt, branchBytes) : undefined
  return finish(code, start, at, { kind, emulated, target, register, second, opcode, map: 'one' })
}

function twoByteInstruction(code: Uint8Array, start: number, prefixes: Prefixes): Instruction | undefined {
  const opcode = code[prefixes.at + 1]
  if (opcode === undefined || TWO_BYTE_REFUSED.has(opcode)) return undefined
  let at = prefixes.at + 2
  if (opcode >= 0x80 && opcode <= 0x8f) {
    if (prefixes.operand16) return undefined
    const target = at + 4 - start + signedAt(code, at, 4)
    const emulated = prefixes.at === start
    return finish(code, start, at + 4, { kind: 'branch', emulated, target, opcode, map: '0f' })
  }
  const longMap = opcode === 0x38 || opcode === 0x3a
  if (longMap) at++
  if (!longMap && TWO_BYTE_PLAIN.has(opcode)) return finish(code, start, at, { opcode, map: '0f' })
  const modrm = modrmLength(code, at)
  if (modrm === undefined) return undefined
  const modrmByte = code[at] ?? 0
  const immediate = opcode === 0x3a || (!longMap && TWO_BYTE_IMMEDIATE.has(opcode)) ? 1 : 0
  const end = at + modrm + immediate
  const nop5 = end - start === 5 && prefixes.at === start && modrmByte === 0x44 && code[at + 1] === 0
  const endbr = opcode === 0x1e && code[start] === 0xf3 && modrmByte === 0xfa
  return finish(code, start, end, {
    kind: opcode === 0x1f || endbr ? 'nop' : 'other',
    emulated: opcode === 0x1f && nop5,
    opcode,
    map: opcode === 0x38 ? '0f38' : opcode === 0x3a ? '0f3a' : '0f',
  })
}

/** The instruction at `start`, or undefined if the bytes are none that this decoder knows or they are cut off. */
export function decodeInstruction(code: Uint8Array, start: number): Instruction | undefined {
  const prefixes = readPrefixes(code, start)
  const opcode = code[prefixes.at]
  if (opcode === undefined || prefixes.at - start >= MAX_LENGTH) return undefined
  if (opcode === 0xc4 || opcode === 0xc5 || opcode === 0x62)
    return prefixes.rex === 0 ? vectorInstruction(code, start, prefixes.at) : undefined
  return opcode === 0x0f
    ? twoByteInstruction(code, start, prefixes)
    : oneByteInstruction(code, start, prefixes)
}
