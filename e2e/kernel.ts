/** What a process has loaded into the kernel, as the kernel itself says. */
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Ids of the BPF programs and links that a process holds open. */
export interface LoadedBpf {
  readonly programs: readonly number[]
  readonly links: readonly number[]
}

/** Reads them from the file descriptors of a process. */
export const findLoadedBpf = async (pid: number): Promise<LoadedBpf> => {
  const programs = new Set<number>()
  const links = new Set<number>()
  for (const fd of await readdir(`/proc/${pid}/fdinfo`)) {
    const text = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '')
    const program = /^prog_id:\s*(\d+)$/m.exec(text)?.[1]
    const link = /^link_id:\s*(\d+)$/m.exec(text)?.[1]
    if (program !== undefined) programs.add(Number(program))
    if (link !== undefined) links.add(Number(link))
  }
  return { programs: [...programs], links: [...links] }
}

/** The instructions of a loaded program as the kernel runs them. */
export const dumpProgram = async (id: number): Promise<string> => {
  const { stdout } = await run('bpftool', ['prog', 'dump', 'xlated', 'id', String(id)], {
    maxBuffer: 64 * 1024 * 1024,
  })
  return stdout
}

/** Those of the links that still exist. */
export const findLivingLinks = async (links: readonly number[]): Promise<readonly number[]> => {
  const { stdout } = await run('bpftool', ['--json', 'link', 'show'], { maxBuffer: 64 * 1024 * 1024 })
  const all: readonly { readonly id: number }[] = JSON.parse(stdout)
  const living = new Set(all.map(({ id }) => id))
  return links.filter((id) => living.has(id))
}
