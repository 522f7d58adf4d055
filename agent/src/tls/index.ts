/** Every TLS library that is known; a new one is a line here. */
import { ElfError, ElfFile } from './elf.js'
import type { ProbePlan, TlsLibrary } from './library.js'
import { openssl } from './openssl.js'

const libraries: readonly TlsLibrary[] = [openssl]

export interface FoundLibrary {
  readonly library: string
  readonly plan: ProbePlan
}

/**
 * What can be probed in a file; undefined if it is not ELF for this machine or holds no TLS library. With `deep` the
 * full symbol table is searched too, which a program with the library linked in may need.
 * Throws the system's error if the file cannot be read.
 */
export function examineFile(path: string, deep: boolean): FoundLibrary | undefined {
  let elf: ElfFile
  try {
    elf = new ElfFile(path)
  } catch (error) {
    if (error instanceof ElfError) return undefined
    throw error
  }
  try {
    for (const library of libraries) {
      if (elf.symbols(library.marker, deep).size < library.marker.length) continue
      const plan = library.plan(elf)
      if (plan !== undefined) return { library: library.name, plan }
    }
    return undefined
  } catch (error) {
    if (error instanceof ElfError) return undefined
    throw error
  } finally {
    elf.close()
  }
}
