/**
 * Finds TLS libraries: in the linker's directories before anyone starts, in what runs already, and in what starts or
 * is loaded later. Each file, by device and inode, is reported once, for all processes that map it now or later.
 */
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { listPids } from '../processes/proc.js'
import { examineFile, type FoundLibrary } from './index.js'

export interface LibraryFile extends FoundLibrary {
  /** Path by which this process opens it. */
  readonly path: string
  /** MAJOR.MINOR:INODE. */
  readonly id: string
}

export interface DiscoveryOptions {
  /** Attaches; a rejection is logged and counted by the caller, the file is not tried again. */
  readonly onLibrary: (file: LibraryFile) => Promise<void>
  /** Files that could not be examined. */
  readonly onFailure: (path: string, error: unknown) => void
  /** Look again at everything that runs, for libraries loaded late. */
  readonly rescanIntervalMs: number
  /** Files remembered as looked at; the oldest goes first and may be looked at again. */
  readonly maxFiles: number
}

/** When a new process is looked at: libraries are mapped within the first, loaded by configuration in the later ones. */
const LOOKS_AFTER_MS = [5, 50, 300, 2000]
const MAX_WAITING_PROCESSES = 4096
const LINKER_CONFIGURATION = '/etc/ld.so.conf'
const DEFAULT_DIRECTORIES = ['/lib', '/usr/lib', '/lib64', '/usr/lib64', '/usr/local/lib']
const LIBRARY_NAME = /^lib.*\.so(\.|$)/

interface MappedFile {
  readonly id: string
  readonly path: string
  readonly range: string
}

export class LibraryDiscovery {
  /** New processes that were not looked at because too many waited. */
  skipped = 0
  readonly #options: DiscoveryOptions
  readonly #seen = new Map<string, Promise<void> | undefined>()
  readonly #timers = new Map<number, NodeJS.Timeout>()
  #rescan: NodeJS.Timeout | undefined

  constructor(options: DiscoveryOptions) {
    this.#options = options
  }

  /** Looks at the linker's directories and at what runs; resolves when all that was found is attached. */
  async start(): Promise<void> {
    for (const path of linkerFiles()) this.#consider(undefined, path)
    this.#lookAtAll()
    await Promise.all(this.#seen.values())
    this.#rescan = setInterval(() => this.#lookAtAll(), this.#options.rescanIntervalMs)
    this.#rescan.unref()
  }

  /** A process has begun to run a program. */
  onExec(pid: number): void {
    this.onExit(pid)
    if (this.#timers.size >= MAX_WAITING_PROCESSES) {
      this.skipped++
      return
    }
    this.#lookAt(pid)
    this.#schedule(pid, 0)
  }

  onExit(pid: number): void {
    clearTimeout(this.#timers.get(pid))
    this.#timers.delete(pid)
  }

  /** Resolves when attaches under way are done. */
  async stop(): Promise<void> {
    clearInterval(this.#rescan)
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
    await Promise.all(this.#seen.values())
  }

  #schedule(pid: number, look: number): void {
    const afterMs = LOOKS_AFTER_MS[look]
    if (afterMs === undefined) {
      this.#timers.delete(pid)
      return
    }
    const timer = setTimeout(() => {
      this.#lookAt(pid)
      this.#schedule(pid, look + 1)
    }, afterMs)
    timer.unref()
    this.#timers.set(pid, timer)
  }

  #lookAtAll(): void {
    for (const pid of listPids()) this.#lookAt(pid)
  }

  #lookAt(pid: number): void {
    let maps: string
    try {
      maps = readFileSync(`/proc/${pid}/maps`, 'utf8')
    } catch {
      return // gone, a kernel thread, or not ours to read
    }
    for (const file of mappedFiles(maps)) if (!this.#seen.has(file.id)) this.#considerMapped(pid, file)
  }

  /** Opens the very file that is mapped: through the process's root, or its mapping if the file was replaced. */
  #considerMapped(pid: number, file: MappedFile): void {
    const throughRoot = `/proc/${pid}/root${file.path}`
    const stat = statSync(throughRoot, { throwIfNoEntry: false, bigint: true })
    const same = stat !== undefined && String(stat.ino) === file.id.split(':')[1]
    this.#consider(file.id, same ? throughRoot : `/proc/${pid}/map_files/${file.range}`)
  }

  #consider(mappedId: string | undefined, path: string): void {
    try {
      const stat = statSync(path, { bigint: true })
      // On overlay and btrfs maps may name another device than stat: both names stand for the file.
      const statId = fileId(stat.dev, stat.ino)
      const id = mappedId ?? statId
      const known = this.#seen.has(id) || this.#seen.has(statId)
      this.#remember(id, undefined)
      this.#remember(statId, undefined)
      if (known) return
      if (!stat.isFile()) return
      const found = examineFile(path, mappedId !== undefined)
      if (found !== undefined) this.#remember(id, this.#options.onLibrary({ ...found, path, id }))
    } catch (error) {
      this.#options.onFailure(path, error)
    }
  }

  #remember(id: string, attached: Promise<void> | undefined): void {
    if (this.#seen.size >= this.#options.maxFiles) {
      const first = this.#seen.keys().next()
      if (!first.done) this.#seen.delete(first.value)
    }
    if (attached !== undefined || !this.#seen.has(id)) this.#seen.set(id, attached)
  }
}

/** As /proc/PID/maps writes it, so that both agree: major and minor in hexadecimal, inode in decimal: MAJOR.MINOR:INODE. */
function fileId(device: bigint, inode: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n)
  const hex = (value: bigint) => value.toString(16).padStart(2, '0')
  return `${hex(major)}.${hex(minor)}:${inode}`
}

/** Files that are mapped with executable pages, each once. */
export function mappedFiles(maps: string): MappedFile[] {
  const files = new Map<string, MappedFile>()
  for (const line of maps.split('\n')) {
    const match = /^([0-9a-f]+-[0-9a-f]+) ..x. [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) (\d+) +(\/.*)$/.exec(line)
    if (match === null || match[4] === '0') continue
    const id = `${match[2]}.${match[3]}:${match[4]}`
    // A map_files name has no leading zeros, maps pads with them.
    const range = (match[1] ?? '').replace(/^0+(?=.)/, '').replace(/-0+(?=.)/, '-')
    if (!files.has(id)) files.set(id, { id, range, path: (match[5] ?? '').replace(/ \(deleted\)$/, '') })
  }
  return [...files.values()]
}

/** Libraries in the directories that the dynamic linker searches on this host, links resolved, each once. */
function linkerFiles(): string[] {
  const files = new Set<string>()
  for (const directory of linkerDirectories()) {
    for (const name of namesIn(directory)) {
      if (!LIBRARY_NAME.test(name)) continue
      try {
        files.add(realpathSync(`${directory}/${name}`))
      } catch {
        // a dangling link
      }
    }
  }
  return [...files]
}

function linkerDirectories(): string[] {
  const found = new Set<string>()
  for (const directory of [...DEFAULT_DIRECTORIES, ...configuredDirectories(LINKER_CONFIGURATION, 0)]) {
    try {
      found.add(realpathSync(directory))
    } catch {
      // not on this host
    }
  }
  return [...found]
}

function configuredDirectories(path: string, depth: number): string[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return []
  }
  return text.split('\n').flatMap((line) => {
    const [first, pattern] = line.replace(/#.*/, '').trim().split(/\s+/)
    if (first === undefined || first === '') return []
    if (first !== 'include' || pattern === undefined) return [first]
    const directory = pattern.slice(0, pattern.lastIndexOf('/'))
    const nested = namesIn(directory).filter((name) => name.endsWith('.conf'))
    return depth > 2 ? [] : nested.flatMap((name) => configuredDirectories(`${directory}/${name}`, depth + 1))
  })
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
