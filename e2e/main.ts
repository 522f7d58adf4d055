/**
 * npm run e2e -- SUITE... [--full] | --all | --list
 *
 * Prints a line a cell. Exit code 0: every cell passed. 1: a cell failed. 2: a suite could not run.
 * --counts FILE also writes {passed, failed, broken}: cells, cells, and suites that could not run.
 */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import type { Suite } from './suite.js'
import { CannotRun } from './suite.js'
import { suites } from './suites/index.js'

const usage = 'usage: npm run e2e -- SUITE... [--full] | --all [--full] | --list'

interface Outcome {
  passed: number
  failed: number
  /** Why the suite could not be run to its end, if so. */
  broken?: string
}

const seconds = (sinceMs: number): string => `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`

const explain = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  return error instanceof CannotRun ? error.message : (error.stack ?? error.message)
}

const printLine = (verdict: 'ok' | 'FAILED', cell: string, took: string, detail: string): void => {
  const [first = '', ...rest] = detail.split('\n')
  process.stdout.write(`  ${verdict.padEnd(6)}  ${cell.padEnd(52)} ${took.padStart(7)}  ${first}`.trimEnd())
  process.stdout.write('\n')
  for (const line of rest) process.stdout.write(`            ${line}\n`)
}

const runSuite = async (suite: Suite, full: boolean): Promise<Outcome> => {
  const outcome: Outcome = { passed: 0, failed: 0 }
  process.stdout.write(`${suite.name}: ${suite.about}\n`)
  const cell = async (name: string, check: () => Promise<string | undefined> | string | undefined) => {
    const start = performance.now()
    try {
      const detail = await check()
      outcome.passed += 1
      printLine('ok', name, seconds(start), detail ?? '')
      return true
    } catch (error) {
      outcome.failed += 1
      printLine('FAILED', name, seconds(start), explain(error))
      return false
    }
  }
  const start = performance.now()
  try {
    await suite.run({ full, cell })
    if (outcome.passed + outcome.failed === 0) outcome.broken = 'it has no cells'
  } catch (error) {
    outcome.broken = explain(error)
  }
  if (outcome.broken !== undefined) process.stdout.write(`  could not run: ${outcome.broken}\n`)
  process.stdout.write(`  ${outcome.passed} ok, ${outcome.failed} failed, ${seconds(start)}\n\n`)
  return outcome
}

const runSuites = async (chosen: readonly Suite[], full: boolean, countsPath?: string): Promise<number> => {
  const outcomes: Outcome[] = []
  for (const suite of chosen) outcomes.push(await runSuite(suite, full))
  const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0)
  const failed = outcomes.reduce((sum, outcome) => sum + outcome.failed, 0)
  const broken = outcomes.filter((outcome) => outcome.broken !== undefined).length
  const notRun = broken === 0 ? '' : `, ${broken} suites could not run`
  process.stdout.write(`cells: ${passed} passed, ${failed} failed${notRun}\n`)
  if (countsPath !== undefined) await writeFile(countsPath, JSON.stringify({ passed, failed, broken }))
  return broken > 0 ? 2 : failed > 0 ? 1 : 0
}

const chooseSuites = (names: readonly string[], all: boolean): readonly Suite[] | undefined => {
  if (all) return suites
  const chosen: Suite[] = []
  for (const name of names) {
    const suite = suites.find((candidate) => candidate.name === name)
    if (suite === undefined) {
      const known = suites.map((candidate) => candidate.name).join(', ')
      process.stderr.write(`unknown suite "${name}"; there are: ${known}\n`)
      return undefined
    }
    chosen.push(suite)
  }
  return chosen
}

const main = async (argv: readonly string[]): Promise<number> => {
  const flag = { type: 'boolean', default: false } as const
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { all: flag, full: flag, list: flag, counts: { type: 'string' } },
  })
  if (values.list) {
    for (const { name, about } of suites) process.stdout.write(`${name.padEnd(12)} ${about}\n`)
    return 0
  }
  if (values.all === positionals.length > 0) {
    process.stderr.write(`${usage}\n`)
    return 2
  }
  const chosen = chooseSuites(positionals, values.all)
  return chosen === undefined ? 2 : runSuites(chosen, values.full, values.counts)
}

// nginx and bpftool are where Debian keeps programs for root, which not every shell looks through.
process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`could not run: ${explain(error)}\n`)
  process.exitCode = 2
}
