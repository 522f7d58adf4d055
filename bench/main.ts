/**
 * npm run bench -- NAME [--json] | --list
 *
 * Exit code 0: every mark met. 1: a mark missed. 2: could not run. With --json standard output is one object
 * {bench, figures: [{name, value, unit, mark, met}], conditions}; mark is {value, direction} or null, met null
 * where there is no mark.
 */
import { cpus, release, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import type { Bench, BenchResult, Conditions, Figure } from './bench.js'
import { isMet } from './bench.js'
import { benches } from './index.js'

const usage = 'usage: npm run bench -- NAME [--json] | --list'

const machine = (): Conditions => ({
  cpus: cpus().length,
  cpu: cpus()[0]?.model ?? 'unknown',
  memory_mib: Math.round(totalmem() / 1024 / 1024),
  kernel: release(),
  node: process.version,
})

const formatValue = (value: number): string =>
  Number.isInteger(value) ? String(value) : value.toPrecision(Math.abs(value) >= 1000 ? 6 : 4)

const describeMark = ({ mark }: Figure): string =>
  mark === undefined ? '' : `${mark.direction.replace('-', ' ')} ${formatValue(mark.value)}`

const describeMet = (figure: Figure): string => {
  const met = isMet(figure)
  return met === null ? '' : met ? 'met' : 'MISSED'
}

const printTable = (bench: Bench, result: BenchResult): void => {
  process.stdout.write(`${bench.name}: ${bench.about}\n\n`)
  const width = Math.max(...result.figures.map((figure) => figure.name.length))
  for (const figure of result.figures) {
    const value = `${formatValue(figure.value)} ${figure.unit}`.padEnd(26)
    const line = `  ${figure.name.padEnd(width)}  ${value} ${describeMark(figure).padEnd(20)} ${describeMet(figure)}`
    process.stdout.write(`${line.trimEnd()}\n`)
  }
  process.stdout.write('\nconditions\n')
  for (const [name, value] of Object.entries(result.conditions)) process.stdout.write(`  ${name}: ${value}\n`)
}

const toJson = (bench: Bench, result: BenchResult): string =>
  JSON.stringify({
    bench: bench.name,
    figures: result.figures.map((figure) => ({
      name: figure.name,
      value: figure.value,
      unit: figure.unit,
      mark: figure.mark ?? null,
      met: isMet(figure),
    })),
    conditions: result.conditions,
  })

const printList = (): void => {
  for (const { name, about } of benches) process.stdout.write(`${name.padEnd(12)} ${about}\n`)
}

const runBench = async (name: string, asJson: boolean): Promise<number> => {
  const bench = benches.find((candidate) => candidate.name === name)
  if (bench === undefined) {
    const known = benches.map((candidate) => candidate.name).join(', ')
    process.stderr.write(`unknown benchmark "${name}"; there are: ${known}\n`)
    return 2
  }
  const measured = await bench.run()
  const result = { ...measured, conditions: { ...machine(), ...measured.conditions } }
  if (asJson) process.stdout.write(`${toJson(bench, result)}\n`)
  else printTable(bench, result)
  return result.figures.every((figure) => isMet(figure) !== false) ? 0 : 1
}

const main = async (argv: readonly string[]): Promise<number> => {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, list: { type: 'boolean', default: false } },
  })
  if (values.list) {
    printList()
    return 0
  }
  const [name, ...rest] = positionals
  if (name === undefined || rest.length > 0) {
    process.stderr.write(`${usage}\n`)
    return 2
  }
  return runBench(name, values.json)
}

/** A reader that goes away ends the output, not the run: what was started is still stopped, the exit code stays. */
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(
    `could not run: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  )
  process.exitCode = 2
}
