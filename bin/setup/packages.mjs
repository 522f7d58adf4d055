/** Debian packages: looked for by what they give, installed only if that is missing. */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { hasProgram, run, say, succeeds } from './run.mjs'

const program = (name) => () => hasProgram(name)
const file = (path) => () => existsSync(path)
const pythonVenv = () => succeeds('python3', ['-c', 'import venv, ensurepip'])

/** What is needed for what: package, and how its presence shows. */
export const packageGroups = {
  build: [
    ['clang', program('clang')],
    ['bpftool', program('bpftool')],
    ['libbpf-dev', file('/usr/include/bpf/libbpf.h')],
    ['libelf-dev', file('/usr/include/libelf.h')],
    ['zlib1g-dev', file('/usr/include/zlib.h')],
    ['g++', program('g++')],
    ['make', program('make')],
  ],
  demo: [
    ['ca-certificates', file('/etc/ssl/certs/ca-certificates.crt')],
    ['curl', program('curl')],
    ['openssl', program('openssl')],
    ['python3', program('python3')],
    ['python3-venv', pythonVenv],
    ['util-linux', program('setpriv')],
  ],
  test: [
    ['chromium', program('chromium')],
    ['git', program('git')],
    ['nginx-light', program('nginx')],
    ['wrk', program('wrk')],
  ],
}

/** Debian starts a service that it installs; with this file it does not. */
const servicePolicy = '/usr/sbin/policy-rc.d'

const withoutStartingServices = (install) => {
  if (existsSync(servicePolicy)) return install()
  writeFileSync(servicePolicy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    install()
  } finally {
    rmSync(servicePolicy, { force: true })
  }
}

/** Installs what a group lacks; throws with the command to run if this user or system cannot. */
export const ensurePackages = (group) => {
  const missing = packageGroups[group].filter(([, present]) => !present()).map(([name]) => name)
  if (missing.length === 0) return
  const byHand = `install by hand: sudo apt-get install ${missing.join(' ')}`
  if (!hasProgram('apt-get')) {
    throw new Error(
      `missing: ${missing.join(', ')}; there is no apt-get here. Debian calls them so; ${byHand}`,
    )
  }
  if (process.getuid?.() !== 0) throw new Error(`missing: ${missing.join(', ')}; not root, so ${byHand}`)
  say(`installing ${missing.join(', ')}`)
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' }
  const offline = `Is the network there? Else ${byHand}`
  run('apt-get', ['update', '-q'], offline, quiet)
  withoutStartingServices(() =>
    run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing], offline, quiet),
  )
}
