/**
 * Builds dist/bpf/cleartap.bpf.o (clang, bpftool) and dist/agent/native/cleartap.node (g++, libbpf).
 * Does nothing for a target whose inputs and command have not changed. Run it with the Node that will load the addon.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { arch, release } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const KERNEL_TYPES = '/sys/kernel/btf/vmlinux'
const TOOLS = {
  clang: 'install clang (Debian: apt-get install clang)',
  bpftool: 'install bpftool (Debian: apt-get install bpftool)',
  'g++': 'install a C++20 compiler (Debian: apt-get install g++)',
}

class BuildError extends Error {}

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
  if (result.error?.code === 'ENOENT') throw new BuildError(`${command} not found: ${TOOLS[command]}`)
  if (result.error) throw result.error
  if (result.status !== 0)
    throw new BuildError(`${command} ${args.join(' ')} ended with ${result.status}\n${result.stderr}`)
  return result.stdout
}

function sources(directory, pattern) {
  return readdirSync(join(root, directory), { recursive: true })
    .filter((name) => pattern.test(name))
    .map((name) => join(directory, name))
    .sort()
}

function digest(step) {
  const hash = createHash('sha256').update(JSON.stringify([step.command, step.args, step.salt ?? '']))
  for (const input of step.inputs) hash.update(input).update(readFileSync(join(root, input)))
  return hash.digest('hex')
}

/** Runs the step if its digest differs from the one left beside the target. */
function build(step) {
  const target = join(root, step.target)
  const stamp = `${target}.stamp`
  const wanted = digest(step)
  if (existsSync(target) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  mkdirSync(dirname(target), { recursive: true })
  rmSync(stamp, { force: true })
  const output = `${step.target}.new`
  const text = run(
    step.command,
    step.args.map((argument) => (argument === '{output}' ? output : argument)),
  )
  if (step.keepOutput) writeFileSync(join(root, output), text)
  renameSync(join(root, output), target)
  writeFileSync(stamp, wanted)
  process.stdout.write(`built ${relative(root, target)}\n`)
}

function requireHeader(header, message) {
  const result = spawnSync('g++', ['-fsyntax-only', '-include', header, '-x', 'c++', '/dev/null'], {
    encoding: 'utf8',
  })
  if (result.error?.code === 'ENOENT') throw new BuildError(`g++ not found: ${TOOLS['g++']}`)
  if (result.status !== 0) throw new BuildError(`${header} not found: ${message}`)
}

function buildAll() {
  if (!existsSync(KERNEL_TYPES))
    throw new BuildError(`${KERNEL_TYPES} not found: the kernel must be built with CONFIG_DEBUG_INFO_BTF=y`)
  requireHeader(
    'bpf/libbpf.h',
    'install libbpf 1.1 or later with headers (Debian: apt-get install libbpf-dev)',
  )
  build({
    target: 'dist/bpf/vmlinux.h',
    inputs: [],
    salt: release(),
    command: 'bpftool',
    args: ['btf', 'dump', 'file', KERNEL_TYPES, 'format', 'c'],
    keepOutput: true,
  })
  const target = arch() === 'arm64' ? '__TARGET_ARCH_arm64' : '__TARGET_ARCH_x86'
  build({
    target: 'dist/bpf/cleartap.bpf.o',
    inputs: [...sources('bpf', /\.[ch]$/), 'dist/bpf/vmlinux.h'],
    command: 'clang',
    args: `-target bpf -D${target} -O2 -g -mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Werror -Idist/bpf -Ibpf -c bpf/cleartap.bpf.c -o {output}`.split(
      ' ',
    ),
  })
  const units = sources('agent/native/src', /\.cc$/)
  build({
    target: 'dist/agent/native/cleartap.node',
    inputs: [...units, ...sources('agent/native/src', /\.h$/)],
    salt: process.versions.modules,
    command: 'g++',
    args: [
      ...'-std=c++20 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -DNAPI_CPP_EXCEPTIONS -DNAPI_VERSION=9'.split(
        ' ',
      ),
      '-isystemnode_modules/node-addon-api',
      '-isystemnode_modules/node-api-headers/include',
      ...units,
      '-o',
      '{output}',
      '-lbpf',
    ],
  })
}

try {
  buildAll()
} catch (error) {
  if (!(error instanceof BuildError)) throw error
  process.stderr.write(`agent/native/build.mjs: ${error.message}\n`)
  process.exitCode = 1
}
