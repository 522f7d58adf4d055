/**
 * All tests of a checkout that is set up: mocha over every built *.test.js, then every end-to-end suite in its
 * short form. The last line is "N passed, M failed". Exit code 0 only if all ran, all passed and none is pending.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')

const run = async (args) => {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  const [code] = await once(child, 'exit')
  return code === 0
}

const readCounts = async (path) => {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : JSON.parse(text)
}

const runUnitTests = async (directory) => {
  const report = join(directory, 'unit.json')
  const ok = await run([
    'node_modules/mocha/bin/mocha.js',
    '--reporter-option',
    `counts=${report}`,
    'dist/**/*.test.js',
  ])
  const counts = await readCounts(report)
  if (counts === undefined)
    return { name: 'unit tests', passed: 0, failed: 1, note: 'did not run to their end' }
  const { passes, failures, pending } = counts
  const failed = failures + pending + (ok || failures + pending > 0 ? 0 : 1)
  return { name: 'unit tests', passed: passes, failed, note: pending > 0 ? `${pending} are pending` : '' }
}

const runSuites = async (directory) => {
  const report = join(directory, 'e2e.json')
  const ok = await run(['dist/e2e/main.js', '--all', '--counts', report])
  const counts = await readCounts(report)
  if (counts === undefined)
    return { name: 'end to end', passed: 0, failed: 1, note: 'did not run to their end' }
  const failed = counts.failed + counts.broken
  return { name: 'end to end', passed: counts.passed, failed: failed + (ok || failed > 0 ? 0 : 1), note: '' }
}

const directory = await mkdtemp(join(tmpdir(), 'cleartap-test-'))
try {
  const parts = [await runUnitTests(directory), await runSuites(directory)]
  process.stdout.write('\n')
  for (const { name, passed, failed, note } of parts) {
    process.stdout.write(`${name}: ${passed} passed, ${failed} failed${note === '' ? '' : ` (${note})`}\n`)
  }
  const passed = parts.reduce((sum, part) => sum + part.passed, 0)
  const failed = parts.reduce((sum, part) => sum + part.failed, 0)
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1
} finally {
  await rm(directory, { recursive: true, force: true })
}
