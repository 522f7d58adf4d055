import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { ElfError, ElfFile } from './elf.js'
import { examineFile } from './index.js'

const libssl = '/usr/lib/x86_64-linux-gnu/libssl.so.3'
const names = ['SSL_read', 'SSL_write', 'SSL_read_ex', 'SSL_write_ex', 'SSL_free', 'SSL_clear']

describe('ElfFile', function () {
  this.timeout(60_000)
  let directory: string
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'cleartap-elf-'))
  })
  after(() => rmSync(directory, { recursive: true }))

  function inFile(name: string, bytes: Uint8Array): string {
    const path = join(directory, name)
    writeFileSync(path, bytes)
    return path
  }

  it('finds the symbols that readelf finds, at the same addresses', () => {
    const elf = new ElfFile(libssl)
    const found = elf.symbols(names, false)
    elf.close()
    const listed = execFileSync('readelf', ['-Ws', '--dyn-syms', libssl], { encoding: 'utf8' })
    for (const name of names) {
      const match = new RegExp(`([0-9a-f]{16}) +(\\d+) FUNC .* ${name}@@`).exec(listed)
      assert.deepEqual(found.get(name), {
        address: Number.parseInt(match?.[1] ?? '', 16),
        size: Number(match?.[2]),
      })
    }
  })

  it('turns addresses into file offsets by the segment, in position-independent and fixed programs', () => {
    const source = inFile(
      'main.c',
      Buffer.from('int SSL_read(int a){return a+1;} int main(void){return SSL_read(1);}'),
    )
    for (const flag of ['-pie', '-no-pie']) {
      const program = join(directory, `program${flag}`)
      execFileSync('gcc', ['-O0', flag, '-o', program, source])
      const elf = new ElfFile(program)
      const symbol = elf.symbols(['SSL_read'], true).get('SSL_read')
      assert.ok(symbol)
      const offset = elf.fileOffset(symbol.address)
      assert.ok(offset)
      const code = elf.code(symbol.address, 16)
      elf.close()
      assert.deepEqual([...readFileSync(program).subarray(offset, offset + 16)], [...code])
      assert.equal(code[0], 0x55)
    }
  })

  it('does not take imported functions, data or stripped names for definitions', () => {
    const source = inFile(
      'uses.c',
      Buffer.from('int SSL_read(int); int SSL_write = 3; int f(void){return SSL_read(1);}'),
    )
    const library = join(directory, 'libuses.so')
    execFileSync('gcc', ['-shared', '-fPIC', '-o', library, source])
    const elf = new ElfFile(library)
    assert.equal(elf.symbols(names, true).size, 0)
    elf.close()
  })

  it('refuses other files with the reason', () => {
    const cases: readonly (readonly [Uint8Array, RegExp])[] = [
      [Buffer.from('#!/bin/sh\n'.padEnd(64)), /not an ELF file/],
      [Buffer.from([0x7f, 0x45, 0x4c, 0x46, 1, 1, ...new Array<number>(60).fill(0)]), /not 64-bit/],
      [Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, ...new Array<number>(60).fill(0)]), /machine 0/],
      [Buffer.from([0x7f]), /wants 64 bytes/],
    ]
    for (const [bytes, message] of cases)
      assert.throws(
        () => new ElfFile(inFile('bad', bytes)),
        (error) => error instanceof ElfError && message.test(error.message),
      )
    assert.throws(() => new ElfFile(directory), ElfError)
    assert.equal(examineFile(inFile('bad', Buffer.from('text')), true), undefined)
  })

  it('survives any damage to headers, section table and symbols: a plan, nothing, or ElfError, never more', () => {
    const original = readFileSync(libssl)
    const sectionTable = Number(original.readBigUInt64LE(40))
    const interesting = fc.oneof(
      fc.integer({ min: 0, max: 1000 }),
      fc.integer({ min: sectionTable, max: original.length - 1 }),
      fc.integer({ min: 0, max: 60_000 }),
    )
    const value = fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)
    fc.assert(
      fc.property(fc.array(fc.tuple(interesting, value), { minLength: 1, maxLength: 12 }), (changes) => {
        const damaged = Buffer.from(original)
        for (const [at, byte] of changes) damaged[at] = byte
        const found = examineFile(inFile('damaged', damaged), true)
        for (const call of found?.plan.calls ?? [])
          assert.ok(call.offset >= 0 && call.offset < damaged.length)
      }),
      { numRuns: 300 },
    )
  })

  it('survives a file cut anywhere', () => {
    const original = readFileSync(libssl)
    for (let size = 0; size < original.length; size += 9973)
      examineFile(inFile('cut', original.subarray(0, size)), true)
  })
})
