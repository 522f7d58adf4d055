/** The verbs of bin/cleartap; each is one built program, run in this process. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')

/** Verb: the program, whether the verb is its first argument, and what it does. */
const verbs = {
  watch: ['dist/agent/src/main.js', true, 'show the HTTPS exchanges of this host as they happen'],
  run: ['dist/agent/src/main.js', true, 'run a command and show its HTTPS exchanges'],
  agent: ['dist/agent/src/main.js', true, 'capture, store bodies and send events to Pulse'],
  pulse: ['dist/pulse/src/main.js', false, 'take events, keep them in ClickHouse, answer queries'],
  controlplane: ['dist/controlplane/src/main.js', false, 'steer agents; REST and the web page'],
  demo: ['dist/deploy/local/demo.js', false, 'all of it on this machine, with real traffic'],
}

const usage = () => {
  const lines = Object.entries(verbs).map(([verb, [, , about]]) => `  ${verb.padEnd(14)}${about}`)
  return `usage: cleartap VERB [ARGUMENTS]\n\n${lines.join('\n')}\n  version       print the version\n  help          print this\n\ncleartap VERB --help tells more.\n`
}

const readVersion = () => JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version

const refuse = (message) => {
  process.stderr.write(`cleartap: ${message}\n`)
  process.exitCode = 2
}

const refuseVerb = async (word) => {
  const built = join(root, 'dist', 'common', 'config', 'nearest.js')
  const { nearest } = existsSync(built) ? await import(built) : { nearest: () => undefined }
  const near = nearest(word, [...Object.keys(verbs), 'version', 'help'])
  refuse(
    `unknown verb "${word}"${near === undefined ? '' : `; did you mean "${near}"?`}\n${usage().trimEnd()}`,
  )
}

const runVerb = async (verb, args) => {
  const [program, takesVerb] = verbs[verb]
  const path = join(root, program)
  if (!existsSync(path)) {
    process.stderr.write(`cleartap: ${program} is not built; run: npm run build (in ${root})\n`)
    process.exitCode = 1
    return
  }
  process.argv = [process.execPath, path, ...(takesVerb ? [verb] : []), ...args]
  await import(path)
}

const [verb, ...args] = process.argv.slice(2)
if (verb === undefined) refuse(`a verb is missing\n${usage().trimEnd()}`)
else if (verb === 'help' || verb === '--help' || verb === '-h') process.stdout.write(usage())
else if (verb === 'version' || verb === '--version' || verb === '-V')
  process.stdout.write(`${readVersion()}\n`)
else if (Object.hasOwn(verbs, verb)) await runVerb(verb, args)
else await refuseVerb(verb)
