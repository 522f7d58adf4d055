/**
 * Reads what probing needs from an ELF file: segments and symbols. Only headers and symbol tables are read, never the
 * whole file, and everything in them is treated as hostile: sizes are bounded, offsets checked.
 * Source: System V ABI, generic and AMD64 supplement.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

export interface ElfSymbol {
  /** Virtual address as linked. */
  readonly address: number
  readonly size: number
}

interface Segment {
  readonly executable: boolean
  readonly fileOffset: number
  readonly address: number
  readonly fileBytes: number
}

interface Section {
  readonly type: number
  readonly offset: number
  readonly size: number
  readonly link: number
  readonly entryBytes: number
}

/** The file is not an ELF file that can be probed; the message says why. */
export class ElfError extends Error {
  override readonly name = 'ElfError'
}

const HEADER_BYTES = 64
const SYMBOL_BYTES = 24
const MAX_SEGMENTS = 256
const MAX_SECTIONS = 4096
const MAX_TABLE_BYTES = 128 * 1024 * 1024
const SECTION_SYMTAB = 2
const SECTION_DYNSYM = 11
const SECTION_VERSIONS = 0x6fffffff
const SEGMENT_LOAD = 1
const FUNCTION = 2
const MACHINE_X86_64 = 62
const VERSION_HIDDEN = 0x8000

/** An open ELF file; close it. */
export class ElfFile {
  readonly #fd: number
  readonly #bytes: number
  readonly #segments: readonly Segment[]
  readonly #sections: readonly Section[]

  /** Throws ElfError if it is no 64-bit little-endian x86-64 program or library, the system's error if unreadable. */
  constructor(path: string) {
    this.#fd = openSync(path, 'r')
    try {
      const stat = fstatSync(this.#fd)
      if (!stat.isFile()) throw new ElfError(`${path} is not a regular file`)
      this.#bytes = stat.size
      const header = this.#read(0, HEADER_BYTES)
      checkHeader(header)
      this.#segments = this.#readSegments(header)
      this.#sections = this.#readSections(header)
    } catch (error) {
      closeSync(this.#fd)
      throw error
    }
  }

  close(): void {
    closeSync(this.#fd)
  }

  /**
   * Functions defined in this file under the given names, from the dynamic symbol table and, if `deep`, for those not
   * found there from the full one. Superseded versions, aliases of size 0, data and indirect functions are left out.
   */
  symbols(names: readonly string[], deep: boolean): Map<string, ElfSymbol> {
    const found = new Map<string, ElfSymbol>()
    for (const [index, section] of this.#sections.entries()) {
      const wanted = section.type === SECTION_DYNSYM || (deep && section.type === SECTION_SYMTAB)
      if (!wanted || section.entryBytes !== SYMBOL_BYTES) continue
      const missing = names.filter((name) => !found.has(name))
      if (missing.length > 0) this.#searchTable(index, section, missing, found)
    }
    return found
  }

  /** Offset in the file of a linked address inside an executable segment, undefined elsewhere. */
  fileOffset(address: number): number | undefined {
    const segment = this.#segments.find(
      (each) => each.executable && address >= each.address && address < each.address + each.fileBytes,
    )
    return segment === undefined ? undefined : address - segment.address + segment.fileOffset
  }

  /** Up to `bytes` of code at a linked address: less at the end of its segment, empty outside executable segments. */
  code(address: number, bytes: number): Uint8Array {
    const segment = this.#segments.find(
      (each) => each.executable && address >= each.address && address < each.address + each.fileBytes,
    )
    if (segment === undefined) return new Uint8Array(0)
    const inside = address - segment.address
    return this.#read(segment.fileOffset + inside, Math.min(bytes, segment.fileBytes - inside))
  }

  #read(offset: number, bytes: number): Buffer {
    if (offset < 0 || bytes < 0 || offset + bytes > this.#bytes)
      throw new ElfError(`wants ${bytes} bytes at ${offset}, the file has ${this.#bytes}`)
    if (bytes > MAX_TABLE_BYTES)
      throw new ElfError(`table of ${bytes} bytes, at most ${MAX_TABLE_BYTES} are read`)
    const buffer = Buffer.allocUnsafe(bytes)
    let done = 0
    while (done < bytes) {
      const n = readSync(this.#fd, buffer, done, bytes - done, offset + done)
      if (n === 0) throw new ElfError('the file became shorter while it was read')
      done += n
    }
    return buffer
  }

  #readSegments(header: Buffer): Segment[] {
    const count = header.readUInt16LE(56)
    if (header.readUInt16LE(54) !== 56 || count > MAX_SEGMENTS)
      throw new ElfError(`${count} program headers of ${header.readUInt16LE(54)} bytes`)
    const table = this.#read(number64(header, 32), count * 56)
    const segments: Segment[] = []
    for (let at = 0; at < table.length; at += 56) {
      if (table.readUInt32LE(at) !== SEGMENT_LOAD) continue
      segments.push({
        executable: (table.readUInt32LE(at + 4) & 1) !== 0,
        fileOffset: number64(table, at + 8),
        address: number64(table, at + 16),
        fileBytes: number64(table, at + 32),
      })
    }
    return segments
  }

  #readSections(header: Buffer): Section[] {
    const offset = number64(header, 40)
    const count = header.readUInt16LE(60)
    if (offset === 0 || count === 0) return []
    if (header.readUInt16LE(58) !== 64 || count > MAX_SECTIONS)
      throw new ElfError(`${count} section headers of ${header.readUInt16LE(58)} bytes`)
    const table = this.#read(offset, count * 64)
    const sections: Section[] = []
    for (let at = 0; at < table.length; at += 64)
      sections.push({
        type: table.readUInt32LE(at + 4),
        offset: number64(table, at + 24),
        size: number64(table, at + 32),
        link: table.readUInt32LE(at + 40),
        entryBytes: number64(table, at + 56),
      })
    return sections
  }

  #searchTable(
    index: number,
    section: Section,
    names: readonly string[],
    found: Map<string, ElfSymbol>,
  ): void {
    const stringSection = this.#sections[section.link]
    if (stringSection === undefined)
      throw new ElfError(`symbol table without strings (section ${section.link})`)
    const wanted = nameOffsets(this.#read(stringSection.offset, stringSection.size), names)
    if (wanted.size === 0) return
    const table = this.#read(section.offset, section.size)
    const versionSection = this.#sections.find(
      (each) => each.type === SECTION_VERSIONS && each.link === index,
    )
    const versions = versionSection && this.#read(versionSection.offset, versionSection.size)
    for (let at = 0; at + SYMBOL_BYTES <= table.length; at += SYMBOL_BYTES) {
      const name = wanted.get(table.readUInt32LE(at))
      if (name === undefined || ((table[at + 4] ?? 0) & 15) !== FUNCTION || table.readUInt16LE(at + 6) === 0)
        continue
      const versionAt = (at / SYMBOL_BYTES) * 2
      if (versions && versionAt + 2 <= versions.length && versions.readUInt16LE(versionAt) & VERSION_HIDDEN)
        continue
      const symbol = { address: number64(table, at + 8), size: number64(table, at + 16) }
      if (symbol.size > 0 && symbol.address > 0) found.set(name, symbol)
    }
  }
}

function checkHeader(header: Buffer): void {
  if (header.readUInt32BE(0) !== 0x7f454c46) throw new ElfError('not an ELF file')
  if (header[4] !== 2 || header[5] !== 1) throw new ElfError('not 64-bit little-endian')
  if (header.readUInt16LE(18) !== MACHINE_X86_64)
    throw new ElfError(`machine ${header.readUInt16LE(18)}, x86-64 (${MACHINE_X86_64}) is supported`)
}

/** A 64-bit field as a number. Above 2^53 it becomes inexact, far beyond any file: the bounds refuse it then. */
function number64(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * 2 ** 32
}

/** Where each name stands in a string table, tails of longer strings included. */
function nameOffsets(strings: Buffer, names: readonly string[]): Map<number, string> {
  const offsets = new Map<number, string>()
  for (const name of names) {
    const needle = Buffer.from(`${name}\0`, 'latin1')
    for (let at = strings.indexOf(needle); at >= 0; at = strings.indexOf(needle, at + 1))
      offsets.set(at, name)
  }
  return offsets
}
