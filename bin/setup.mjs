/**
 * node bin/setup.mjs deps | build | demo | test
 *
 * Makes a checkout ready to run: system packages, node_modules, Python packages, everything built. Runs on the
 * system's Node (18 and up) without any dependency, since it is what installs them. A second run does nothing.
 * All output goes to standard error; standard output stays free for what is run afterwards.
 */
import { runSteps } from './setup/steps.mjs'

const profiles = {
  deps: ['node-modules'],
  build: ['build-packages', 'node-modules', 'build'],
  demo: ['build-packages', 'demo-packages', 'node-modules', 'python', 'build'],
  test: ['build-packages', 'demo-packages', 'test-packages', 'node-modules', 'python', 'build'],
}

const [profile, ...rest] = process.argv.slice(2)
if (profile === undefined || !Object.hasOwn(profiles, profile) || rest.length > 0) {
  process.stderr.write(`usage: node bin/setup.mjs ${Object.keys(profiles).join(' | ')}\n`)
  process.exit(2)
}

try {
  runSteps(profiles[profile])
} catch (error) {
  process.stderr.write(`set-up failed: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
