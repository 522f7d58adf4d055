/**
 * Adds to package-lock.json the optional packages of other platforms that npm left out.
 *
 * npm drops an optional dependency from the lock file when the registry in use does not carry it (mirrors that
 * keep one platform's binaries do this), and `npm ci` then refuses the lock. An entry with its version, os and cpu
 * is enough: npm never fetches a package that is meant for another platform. Run it after dependencies changed.
 */
import { readFileSync, writeFileSync } from 'node:fs'

const operatingSystems = [
  'linux',
  'darwin',
  'win32',
  'android',
  'freebsd',
  'openbsd',
  'netbsd',
  'aix',
  'sunos',
]
const processors = ['x64', 'arm64', 'armv7', 'arm', 'ia32', 'ppc64', 'riscv64', 's390x', 'loong64']
const processorNames = { armv7: 'arm' }

const file = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(file, 'utf8'))

const platformOf = (name) => {
  const parts = name.split(/[-/]/)
  const os = operatingSystems.find((candidate) => parts.includes(candidate))
  const cpu = processors.find((candidate) => parts.includes(candidate))
  if (os === undefined || cpu === undefined) return undefined
  const libc = parts.includes('musl') ? { libc: ['musl'] } : {}
  return { ...libc, cpu: [processorNames[cpu] ?? cpu], os: [os] }
}

let added = 0
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (Object.hasOwn(lock.packages, `node_modules/${name}`)) continue
    if (Object.hasOwn(lock.packages, `${path}/node_modules/${name}`)) continue
    const platform = platformOf(name)
    if (platform === undefined) continue
    const dev = entry.dev === true ? { dev: true } : {}
    lock.packages[`node_modules/${name}`] = { version, ...platform, ...dev, optional: true }
    added += 1
  }
}

lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)))
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
process.stdout.write(`${added} entries added\n`)
