/** The steps of set-up, by name; each does nothing when its work is done. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { npmCi } from './npm.mjs'
import { ensurePackages } from './packages.mjs'
import { pinnedNode, root, run, say } from './run.mjs'
import { listFiles, whenChanged } from './stamp.mjs'

const readPackages = (path) => {
  const absolute = join(root, path)
  return existsSync(absolute) ? JSON.parse(readFileSync(absolute, 'utf8')).packages : undefined
}

const includes = (list, value) => list === undefined || list.includes(value)

/** Whether an optional package is meant for this platform and so must be there. */
const isForHere = ({ os, cpu, libc }) =>
  os !== undefined && includes(os, process.platform) && includes(cpu, process.arch) && includes(libc, 'glibc')

/** npm's record of what it installed, against the lock file. */
const nodeModulesMatch = () => {
  const installed = readPackages('node_modules/.package-lock.json')
  if (installed === undefined || !existsSync(pinnedNode)) return false
  const locked = readPackages('package-lock.json')
  return Object.entries(locked).every(([path, entry]) => {
    const { version, optional, peer } = entry
    if (path === '') return true
    const found = installed[path]
    if (found !== undefined) return found.version === version
    return peer === true || (optional === true && !isForHere(entry))
  })
}

const installNodeModules = () => {
  if (nodeModulesMatch()) return
  say('installing node_modules (npm ci)')
  npmCi()
  if (!existsSync(pinnedNode)) {
    throw new Error(
      'npm did not install Node 24 (package "node"): are install scripts off? Try: npm ci --ignore-scripts=false',
    )
  }
}

const requirements = 'deploy/local/requirements.txt'

const installPython = () =>
  whenChanged(
    { stamp: '.venv/.requirements', inputs: [requirements], outputs: ['.venv/bin/python', '.venv/bin/weed'] },
    () => {
      say('making .venv')
      rmSync(join(root, '.venv'), { recursive: true, force: true })
      run(
        'python3',
        ['-m', 'venv', '.venv'],
        'Python 3 with venv is needed: sudo apt-get install python3-venv',
      )
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements]
      run('.venv/bin/python', pip, `pip could not install ${requirements}: is its registry reachable?`)
    },
  )

const projects = ['gen', 'common', 'agent', 'pulse', 'controlplane', 'deploy/local', 'e2e', 'bench']

const sources = () => projects.flatMap(listFiles).filter((file) => /\.(ts|tsx|json)$/.test(file))

/** What tsc wrote for a source that is no longer there: a deleted test must not run on. */
const pruneStale = (directory) => {
  for (const entry of readdirSync(join(root, 'dist', directory), { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) pruneStale(path)
    else if (path.endsWith('.d.ts')) {
      const stem = path.slice(0, -'.d.ts'.length)
      if (existsSync(join(root, `${stem}.ts`)) || existsSync(join(root, `${stem}.tsx`))) continue
      for (const suffix of ['.js', '.js.map', '.d.ts', '.d.ts.map']) {
        rmSync(join(root, 'dist', `${stem}${suffix}`), { force: true })
      }
    }
  }
}

const compile = () =>
  whenChanged(
    {
      stamp: 'dist/.stamps/tsc',
      inputs: ['package-lock.json', 'tsconfig.json', ...sources()],
      outputs: ['dist'],
    },
    () => {
      say('compiling (tsc -b)')
      run('node_modules/.bin/tsc', ['-b'], 'the sources do not compile')
      for (const project of projects) if (existsSync(join(root, 'dist', project))) pruneStale(project)
    },
  )

/** The BPF objects and the addon; the script has its own stamps, this one spares starting it. */
const buildNative = () =>
  whenChanged(
    {
      stamp: 'dist/.stamps/native',
      inputs: ['bpf', 'agent/native'].flatMap(listFiles),
      extra: `${release()} ${process.arch}`,
      outputs: ['dist/bpf/cleartap.bpf.o', 'dist/agent/native/cleartap.node'],
    },
    () => {
      say('building the BPF programs and the addon')
      run(pinnedNode, ['agent/native/build.mjs'], 'the BPF programs or the addon do not build')
    },
  )

const page = 'controlplane/ui'

const buildPage = () =>
  whenChanged(
    {
      stamp: 'dist/.stamps/page',
      inputs: ['package-lock.json', ...['gen', page, `${page}-model`].flatMap(listFiles)],
      outputs: ['dist/controlplane/ui/index.html'],
    },
    () => {
      say('building the web page (vite)')
      const vite = [
        'node_modules/vite/bin/vite.js',
        'build',
        '--logLevel',
        'warn',
        '--config',
        `${page}/vite.config.ts`,
      ]
      run(pinnedNode, vite, 'the web page does not build')
    },
  )

const build = () => {
  compile()
  buildNative()
  if (existsSync(join(root, page))) buildPage()
}

const steps = {
  'build-packages': () => ensurePackages('build'),
  'demo-packages': () => ensurePackages('demo'),
  'test-packages': () => ensurePackages('test'),
  'node-modules': installNodeModules,
  python: installPython,
  build,
}

/** Runs the named steps in order; throws at the first that cannot do its work. */
export const runSteps = (names) => {
  for (const name of names) steps[name]()
}
