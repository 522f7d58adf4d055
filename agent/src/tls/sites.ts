/** Where to put a probe on a function: the address that is right and cheap. */
import { decodeInstruction, type Instruction } from './x86.js'

/** A function's code as far as it could be decoded. */
export interface DecodedFunction {
  readonly address: number
  readonly instructions: readonly { readonly offset: number; readonly instruction: Instruction }[]
  /** The whole code was decoded: every branch target inside is known. */
  readonly complete: boolean
}

export function decodeFunction(address: number, code: Uint8Array): DecodedFunction {
  const instructions: { offset: number; instruction: Instruction }[] = []
  let offset = 0
  while (offset < code.length) {
    const instruction = decodeInstruction(code, offset)
    if (instruction === undefined) break
    instructions.push({ offset, instruction })
    offset += instruction.length
  }
  return { address, instructions, complete: offset === code.length }
}

/** Addresses that the function calls or leaves to directly, in order, each once. */
export function calledAddresses(decoded: DecodedFunction): number[] {
  const end = decoded.instructions.at(-1)
  const bytes = end === undefined ? 0 : end.offset + end.instruction.length
  const targets = new Set<number>()
  for (const { offset, instruction } of decoded.instructions) {
    if (instruction.target === undefined) continue
    const target = offset + instruction.target
    const outside = target < 0 || target >= bytes
    if (instruction.kind === 'call' || (instruction.kind === 'jump' && outside))
      targets.add(decoded.address + target)
  }
  return [...targets]
}

/**
 * The address for a probe with entry and return halves. A probe on an instruction that the kernel emulates costs about
 * 1 µs, on any other about 10 µs, so the first emulated one is taken if everything before it leaves the stack pointer
 * and the arguments alone and is passed on every path: no-ops and comparisons. Else the entry itself.
 */
export function probeAddress(decoded: DecodedFunction): number {
  for (const { offset, instruction } of decoded.instructions) {
    if (instruction.emulated)
      return isBranchTarget(decoded, offset) ? decoded.address : decoded.address + offset
    if (instruction.kind !== 'nop' && instruction.kind !== 'compare') break
  }
  return decoded.address
}

/** Whether anything in the function may come to the offset again: then a probe there would count twice. */
function isBranchTarget(decoded: DecodedFunction, wanted: number): boolean {
  if (wanted === 0) return false
  if (!decoded.complete) return true
  return decoded.instructions.some(
    ({ offset, instruction }) => instruction.target !== undefined && offset + instruction.target === wanted,
  )
}
