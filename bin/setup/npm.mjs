/** npm ci, on a Node that the packages accept. */
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { root, run, say } from './run.mjs'

/** npm leaves out optional packages (the bundler's binary) whose engines refuse the Node that npm runs on. */
const isAccepted = (version) => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major === 20 ? minor >= 19 : major === 22 ? minor >= 12 : major > 22
}

const unreachable = 'npm could not install: is its registry reachable?'

/** The pinned Node outside node_modules, which npm ci removes before it installs. */
const fetchNode = (version) => {
  const directory = join('.cache', `node-${version}`)
  const node = join(root, directory, 'node_modules', 'node', 'bin', 'node')
  if (!existsSync(node)) {
    say(`fetching Node ${version}, because Node ${process.versions.node} is too old for some packages`)
    const args = ['install', '--prefix', directory, '--no-save', '--no-audit', '--no-fund', `node@${version}`]
    run('npm', args, unreachable)
  }
  return node
}

/** Installs exactly what package-lock.json says. */
export const npmCi = () => {
  const args = ['ci', '--no-audit', '--no-fund']
  if (isAccepted(process.versions.node)) {
    run('npm', args, unreachable)
    return
  }
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const node = fetchNode(dependencies.node)
  const PATH = `${dirname(node)}${delimiter}${process.env['PATH'] ?? ''}`
  const npm = process.env['npm_execpath']
  if (npm?.endsWith('.js')) run(node, [npm, ...args], unreachable, { PATH })
  else run('npm', args, unreachable, { PATH })
}
