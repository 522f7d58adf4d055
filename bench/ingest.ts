/** Agent sink -> Pulse -> embedded engine, three processes, until the rows are committed and acknowledged. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createChannel, createClient } from 'nice-grpc'
import { QueryServiceDefinition } from '../gen/cleartap/pulse/v1/query.js'
import type { Bench, BenchResult, Figure } from './bench.js'
import type { AgentReport } from './ingest-agent.js'

const WARM_UP_EVENTS = 100_000
const EVENTS = 600_000
const ARTIFACTS = 2
const MARK_EVENTS_PER_SECOND = 60_000
/** Of /proc: sysconf(_SC_CLK_TCK), which Linux fixes for user space. */
const TICKS_PER_SECOND = 100

interface PulseProcess {
  readonly child: ChildProcess
  readonly listen: string
}

interface Round {
  readonly report: AgentReport
  readonly pulseCpuSeconds: number
  readonly engineCpuSeconds: number
}

export const ingest: Bench = {
  name: 'ingest',
  about: 'events from the agent’s sink through Pulse into its embedded ClickHouse, acknowledged',
  run,
}

async function run(): Promise<BenchResult> {
  const directory = await mkdtemp(join(tmpdir(), 'cleartap-bench-ingest-'))
  try {
    const pulse = await startPulse(directory)
    try {
      await round(pulse, join(directory, 'spool-0'), WARM_UP_EVENTS, 0)
      const plain = await round(pulse, join(directory, 'spool-1'), EVENTS, 0)
      const stored = await round(pulse, join(directory, 'spool-2'), EVENTS / 2, ARTIFACTS)
      const rows = await countRows(pulse)
      const expected = WARM_UP_EVENTS + EVENTS + EVENTS / 2
      if (rows !== expected) throw new Error(`sent ${expected} events, but ${rows} rows are stored`)
      return {
        figures: [
          ...figures('', EVENTS, plain, true),
          ...figures(`, ${ARTIFACTS} objects each`, EVENTS / 2, stored, false),
        ],
        conditions: {
          events: EVENTS,
          processes: 'agent sink with spool, Pulse, embedded engine',
          configuration: 'defaults: batches of 1000 events in zstd, blocks of up to 20000 rows',
        },
      }
    } finally {
      await stopPulse(pulse)
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function figures(label: string, events: number, done: Round, isMarked: boolean): Figure[] {
  const micros = (seconds: number) => (seconds / events) * 1e6
  const perSecond = events / done.report.seconds
  return [
    {
      name: `committed${label}`,
      value: Math.round(perSecond),
      unit: 'events/s',
      ...(isMarked && { mark: { value: MARK_EVENTS_PER_SECOND, direction: 'at-least' } as const }),
    },
    { name: `agent CPU${label}`, value: micros(done.report.cpuSeconds), unit: 'µs/event' },
    { name: `Pulse CPU${label}`, value: micros(done.pulseCpuSeconds), unit: 'µs/event' },
    { name: `engine CPU${label}`, value: micros(done.engineCpuSeconds), unit: 'µs/event' },
    {
      name: `dropped${label}`,
      value: done.report.dropped,
      unit: 'events',
      mark: { value: 0, direction: 'at-most' },
    },
  ]
}

async function round(pulse: PulseProcess, spool: string, events: number, artifacts: number): Promise<Round> {
  const pid = pulse.child.pid ?? 0
  const engine = await childOf(pid)
  const before = await Promise.all([cpuSeconds(pid), cpuSeconds(engine)])
  const path = new URL('./ingest-agent.js', import.meta.url).pathname
  const agent = spawn(process.execPath, [path, pulse.listen, spool, String(events), String(artifacts)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const report = JSON.parse(await firstLine(agent)) as AgentReport
  const after = await Promise.all([cpuSeconds(pid), cpuSeconds(engine)])
  if (agent.exitCode === null) await once(agent, 'exit')
  if (report.acked !== events) throw new Error(`sent ${events} events, ${report.acked} were acknowledged`)
  return {
    report,
    pulseCpuSeconds: after[0] - before[0],
    engineCpuSeconds: after[1] - before[1],
  }
}

async function startPulse(directory: string): Promise<PulseProcess> {
  const config = join(directory, 'pulse.yaml')
  const lines = [
    `data_dir: ${join(directory, 'pulse')}`,
    'listen: 127.0.0.1:0',
    'admin: {listen: "127.0.0.1:0"}',
    'log: {level: warn}',
  ]
  await writeFile(config, lines.join('\n'))
  const main = new URL('../pulse/src/main.js', import.meta.url).pathname
  const child = spawn(process.execPath, [main, '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] })
  const { listen } = JSON.parse(await firstLine(child)) as { listen: string }
  return { child, listen }
}

async function stopPulse({ child }: PulseProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

/** Rows as the query service counts them. */
async function countRows(pulse: PulseProcess): Promise<number> {
  const channel = createChannel(pulse.listen)
  try {
    const client = createClient(QueryServiceDefinition, channel)
    const now = BigInt(Math.floor(Date.now() / 1000))
    const range = { start: { seconds: now - 3600n, nanos: 0 }, end: { seconds: now + 3600n, nanos: 0 } }
    const { points } = await client.queryTimeseries({ range, step: { seconds: 3600n, nanos: 0 } })
    return points.reduce((sum, point) => sum + Number(point.requests), 0)
  } finally {
    channel.close()
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('the process has no output')
  for await (const line of createInterface({ input: child.stdout })) return line
  throw new Error('the process ended without a line')
}

/** User and system time that a process has used. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Pulse has one child: its engine. */
async function childOf(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return Number(children.trim().split(' ')[0])
}
