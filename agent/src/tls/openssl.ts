/**
 * OpenSSL and what keeps its interface: libssl 1.1 to 3.x, copies of it under any name, programs with it linked in.
 *
 * SSL_read and SSL_read_ex do their work in one function without a symbol (ssl_read_internal), the write pair likewise.
 * Probing these two instead of four public functions covers both, and they begin with a push, which makes the probe
 * about ten times cheaper. They are the calls that the two public functions have in common.
 */
import type { ElfFile, ElfSymbol } from './elf.js'
import type { CallProbe, ProbePlan, TlsLibrary } from './library.js'
import { calledAddresses, type DecodedFunction, decodeFunction, probeAddress } from './sites.js'

const MAX_FUNCTION_BYTES = 4096
/** Bytes of an internal function that are looked at: enough for its first instructions. */
const INTERNAL_BYTES = 64
/** Number of %r8, the register of a fifth argument. */
const FIFTH_ARGUMENT = 8
/** lea and mov to a register; mov from one. */
const LOADS = new Set([0x8b, 0x8d])
const STORE = 0x89

type FunctionName = 'SSL_read' | 'SSL_write' | 'SSL_read_ex' | 'SSL_write_ex' | 'SSL_write_ex2'

export const openssl: TlsLibrary = {
  name: 'openssl',
  marker: ['SSL_read', 'SSL_write'],
  plan(elf) {
    const symbols = elf.symbols(
      ['SSL_read', 'SSL_write', 'SSL_read_ex', 'SSL_write_ex', 'SSL_write_ex2', 'SSL_free', 'SSL_clear'],
      true,
    )
    const decoded = new Map<string, DecodedFunction>()
    for (const [name, symbol] of symbols) decoded.set(name, decode(elf, symbol))
    const calls = internalCalls(elf, decoded) ?? publicCalls(decoded)
    const probes = calls.flatMap((call) => locate(elf, call))
    const ends = ['SSL_free', 'SSL_clear'].flatMap((name) => {
      const found = decoded.get(name)
      const offset = found && elf.fileOffset(probeAddress(found))
      return offset === undefined ? [] : [offset]
    })
    return probes.length === 0 ? undefined : ({ calls: probes, ends } satisfies ProbePlan)
  },
}

interface LocatedCall extends Omit<CallProbe, 'offset'> {
  readonly decoded: DecodedFunction
}

function decode(elf: ElfFile, symbol: ElfSymbol): DecodedFunction {
  return decodeFunction(symbol.address, elf.code(symbol.address, Math.min(symbol.size, MAX_FUNCTION_BYTES)))
}

function locate(elf: ElfFile, call: LocatedCall): CallProbe[] {
  const offset = elf.fileOffset(probeAddress(call.decoded))
  if (offset === undefined) return []
  return [{ name: call.name, direction: call.direction, count: call.count, offset }]
}

function publicCalls(decoded: ReadonlyMap<string, DecodedFunction>): LocatedCall[] {
  const wanted: readonly (readonly [FunctionName, 'read' | 'write', CallProbe['count']])[] = [
    ['SSL_read', 'read', 'return'],
    ['SSL_write', 'write', 'return'],
    ['SSL_read_ex', 'read', 'fourth'],
    ['SSL_write_ex', 'write', 'fourth'],
    ['SSL_write_ex2', 'write', 'fifth'],
  ]
  return wanted.flatMap(([name, direction, count]) => {
    const found = decoded.get(name)
    return found === undefined ? [] : [{ name, direction, count, decoded: found }]
  })
}

/** Both internal functions, or undefined if either is not beyond doubt. */
function internalCalls(
  elf: ElfFile,
  decoded: ReadonlyMap<string, DecodedFunction>,
): LocatedCall[] | undefined {
  const read = decoded.get('SSL_read')
  const write = decoded.get('SSL_write')
  const readEx = decoded.get('SSL_read_ex')
  const writeEx = decoded.get('SSL_write_ex')
  if (!read || !write || !readEx || !writeEx) return undefined
  const readTarget = commonCall([read, readEx], [write, writeEx])
  const writeTarget = commonCall([write, writeEx], [read, readEx])
  if (readTarget === undefined || writeTarget === undefined) return undefined
  const readBody = functionBody(elf, readTarget)
  const writeBody = functionBody(elf, writeTarget)
  if (!readBody || !writeBody) return undefined
  return [
    { name: 'ssl_read_internal', direction: 'read', count: 'fourth', decoded: readBody },
    {
      name: 'ssl_write_internal',
      direction: 'write',
      count: outArgument(write, writeTarget),
      decoded: writeBody,
    },
  ]
}

/** The one address that all of `inside` call and none of `outside` does. Error reporting is called by both sides. */
function commonCall(
  inside: readonly [DecodedFunction, DecodedFunction],
  outside: readonly DecodedFunction[],
): number | undefined {
  if (![...inside, ...outside].every((each) => each.complete)) return undefined
  const excluded = new Set(outside.flatMap(calledAddresses))
  const second = new Set(calledAddresses(inside[1]))
  const common = calledAddresses(inside[0]).filter((address) => second.has(address) && !excluded.has(address))
  return common.length === 1 ? common[0] : undefined
}

/** The code at the address if it looks like a function that saves registers first, as one of this size must. */
function functionBody(elf: ElfFile, address: number): DecodedFunction | undefined {
  const decoded = decodeFunction(address, elf.code(address, INTERNAL_BYTES))
  const site = probeAddress(decoded) - address
  const first = decoded.instructions.find(({ offset }) => offset === site)
  return first?.instruction.kind === 'push' ? decoded : undefined
}

/** Which argument takes the count: since 3.3 flags stand before it, so the caller fills the fifth register. */
function outArgument(caller: DecodedFunction, target: number): 'fourth' | 'fifth' {
  for (const { offset, instruction } of caller.instructions) {
    if (instruction.target !== undefined && caller.address + offset + instruction.target === target) break
    if (instruction.map !== 'one') continue
    if (LOADS.has(instruction.opcode) && instruction.register === FIFTH_ARGUMENT) return 'fifth'
    if (instruction.opcode === STORE && instruction.second === FIFTH_ARGUMENT) return 'fifth'
  }
  return 'fourth'
}
