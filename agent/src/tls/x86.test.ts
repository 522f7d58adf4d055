import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { ElfFile } from './elf.js'
import { decodeInstruction } from './x86.js'

const libssl = '/usr/lib/x86_64-linux-gnu/libssl.so.3'

/** How objdump shows tables between functions: bytes that are none, or prefixes without an instruction. */
const NO_INSTRUCTION = /\(bad\)|^\.byte|^(rex|data16|addr32|[cdefgs]s|lock|repn?z?)(\.\w+)?( rex\.\w+)?$/

/** Lengths of the instructions of a range as binutils sees them. */
function disassembled(
  path: string,
  from: number,
  to: number,
): { address: number; length: number; text: string }[] {
  const range = [`--start-address=${from}`, `--stop-address=${to}`]
  const output = execFileSync('objdump', ['-d', '--insn-width=16', ...range, path], {
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  })
  return output.split('\n').flatMap((line) => {
    const match = /^ +([0-9a-f]+):\t((?:[0-9a-f]{2} )+) *\t?(.*)$/.exec(line)
    if (match === null) return []
    const length = (match[2] ?? '').trim().split(' ').length
    return [{ address: Number.parseInt(match[1] ?? '', 16), length, text: match[3] ?? '' }]
  })
}

describe('decodeInstruction', function () {
  this.timeout(30_000)

  for (const path of [libssl, '/usr/lib/x86_64-linux-gnu/libcrypto.so.3'])
    it(`agrees with objdump on the code of ${path}`, () => {
      const elf = new ElfFile(path)
      try {
        const [first] = elf.symbols(['SSL_read', 'EVP_EncryptUpdate'], false).values()
        assert.ok(first)
        const start = first.address & ~0xfff
        const code = elf.code(start, 300_000)
        const expected = disassembled(path, first.address, start + code.length - 16)
        assert.ok(expected.length > 10_000)
        let bad = 0
        for (const { address, length, text } of expected) {
          if (NO_INSTRUCTION.test(text)) {
            bad++
            continue
          }
          const decoded = decodeInstruction(code, address - start)
          assert.equal(decoded?.length, length, `${address.toString(16)}: ${text}`)
        }
        assert.ok(bad < expected.length / 100)
      } finally {
        elf.close()
      }
    })

  const known: readonly (readonly [hex: string, kind: string, emulated: boolean])[] = [
    ['55', 'push', true],
    ['4157', 'push', true],
    ['4857', 'push', false],
    ['6655', 'push', false],
    ['90', 'nop', true],
    ['0f1f440000', 'nop', true],
    ['0f1f00', 'nop', false],
    ['f30f1efa', 'nop', false],
    ['e800000000', 'call', true],
    ['e9fbffffff', 'jump', true],
    ['ebfe', 'jump', true],
    ['7405', 'branch', true],
    ['0f8400000000', 'branch', true],
    ['e302', 'branch', false],
    ['c3', 'return', false],
    ['f3c3', 'return', false],
    ['85d2', 'compare', false],
    ['4883ff00', 'compare', false],
    ['f6474402', 'compare', false],
    ['4883ec18', 'other', false],
    ['31c0', 'other', false],
  ]
  for (const [hex, kind, emulated] of known)
    it(`knows ${hex} as ${kind}${emulated ? ', emulated' : ''}`, () => {
      const decoded = decodeInstruction(Buffer.from(hex, 'hex'), 0)
      assert.deepEqual([decoded?.kind, decoded?.emulated, decoded?.length], [kind, emulated, hex.length / 2])
    })

  it('gives branch targets relative to the instruction', () => {
    assert.equal(decodeInstruction(Buffer.from('e9fbffffff', 'hex'), 0)?.target, 0)
    assert.equal(decodeInstruction(Buffer.from('9074fe', 'hex'), 1)?.target, 0)
    assert.equal(decodeInstruction(Buffer.from('0f8500010000', 'hex'), 0)?.target, 0x106)
  })

  it('never reads past the end and never makes an instruction longer than 15 bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (code) => {
        const decoded = decodeInstruction(code, 0)
        if (decoded !== undefined)
          assert.ok(decoded.length >= 1 && decoded.length <= Math.min(15, code.length))
      }),
      { numRuns: 20_000 },
    )
  })
})
