/** From a probe in the kernel to an event in JavaScript: how many, at what loss, at what cost. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Capture } from '../agent/src/bpf/capture.js'
import { checkout } from '../deploy/local/checkout.js'
import type { Bench, Figure } from './bench.js'

const MIB = 1024 * 1024
const RING_BYTES = 16 * MIB
const DURATION_MS = 2000
const RUNS = 3
const SIZES = [256, 4096, 16_384] as const
const EVENTS_MARK = 800_000
/** A little above the mark, so that a run that keeps up passes it. */
const PACED_RATE = 820_000

interface Load {
  readonly program: string
  readonly bytes: number
  /** Calls a second; 0: as fast as it goes. */
  readonly rate: number
}

interface Run {
  readonly eventsPerSecond: number
  /** Share of the calls that gave no event, in percent. */
  readonly lostPercent: number
  readonly cpuMicroseconds: number
}

/** Counts what arrives. Every payload's first and last byte is read, as a consumer would. */
class Counter {
  events = 0
  wrong = 0

  take(bytes: Uint8Array, expected: number): void {
    this.events++
    if (bytes.length !== expected || bytes[0] !== 0x78 || bytes[bytes.length - 1] !== 0x78) this.wrong++
  }
}

/** Starts a capture that sees what this process starts. */
function startCapture(counter: Counter, bytes: number): Promise<Capture> {
  const options = {
    ringBytes: RING_BYTES,
    maxStreams: 65_536,
    targets: { mode: 'children' },
    ignore: { exe: [], comm: [] },
    logger: { debug() {}, info() {}, warn() {} },
  } as const
  return Capture.start(options, {
    onEvent(event) {
      if (event.kind === 'data') counter.take(event.bytes, bytes)
    },
    onBatchEnd() {},
  })
}

/** The producer is found at its exec, as any program that has OpenSSL linked in. */
async function probed(capture: Capture, sitesBefore: number): Promise<void> {
  const endMs = performance.now() + 5000
  while (capture.stats().probes === sitesBefore) {
    if (performance.now() > endMs) throw new Error('the producer was not probed within 5 s')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function measure({ program, bytes, rate }: Load): Promise<Run> {
  const counter = new Counter()
  const capture = await startCapture(counter, bytes)
  const sitesBefore = capture.stats().probes
  const args = [bytes, DURATION_MS, rate].map(String)
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  try {
    const output = new Promise<string>((resolve) =>
      child.stdout.once('data', (data) => resolve(String(data))),
    )
    await probed(capture, sitesBefore)
    const before = process.cpuUsage()
    child.stdin.end('go\n')
    const [calls = 0, ns = 1] = (await output).trim().split(' ').map(Number)
    await capture.stop()
    const used = process.cpuUsage(before)
    const { lostRecords } = capture.stats()
    const lost = lostRecords.ring_full + lostRecords.fault + lostRecords.truncated + lostRecords.table_full
    if (counter.wrong > 0) throw new Error(`${counter.wrong} events had wrong bytes`)
    if (counter.events + lost !== calls)
      throw new Error(`${calls} calls, ${counter.events} events, ${lost} counted as lost: they do not add up`)
    return {
      eventsPerSecond: counter.events / (ns / 1e9),
      lostPercent: (100 * lost) / calls,
      cpuMicroseconds: (used.user + used.system) / counter.events,
    }
  } finally {
    child.kill()
    await capture.stop()
  }
}

/** Middle rate of the runs, with the worst loss among them. */
async function repeat(load: Load): Promise<Run> {
  const runs: Run[] = []
  for (let i = 0; i < RUNS; i++) runs.push(await measure(load))
  runs.sort((a, b) => a.eventsPerSecond - b.eventsPerSecond)
  const middle = runs[Math.floor(RUNS / 2)]
  if (middle === undefined) throw new Error('no run')
  return { ...middle, lostPercent: Math.max(...runs.map((run) => run.lostPercent)) }
}

function figures(name: string, run: Run, isMarked: boolean): Figure[] {
  const rate = { name: `${name}: events`, value: Math.round(run.eventsPerSecond), unit: 'events/s' }
  const lost = { name: `${name}: lost, worst run`, value: Number(run.lostPercent.toFixed(3)), unit: '%' }
  const cpu = { name: `${name}: agent CPU`, value: Number(run.cpuMicroseconds.toFixed(3)), unit: 'µs/event' }
  if (!isMarked) return [rate, lost, cpu]
  return [
    { ...rate, mark: { value: EVENTS_MARK, direction: 'at-least' } },
    { ...lost, mark: { value: 0, direction: 'at-most' } },
    cpu,
  ]
}

export const ring: Bench = {
  name: 'ring',
  about: 'events from a probe in the kernel to JavaScript: rate, loss, CPU',
  async run() {
    const directory = mkdtempSync(join(tmpdir(), 'cleartap-ring-'))
    try {
      const program = join(directory, 'producer')
      const source = join(checkout.root, 'bench', 'ring-producer.c')
      execFileSync('gcc', ['-O2', '-rdynamic', '-o', program, source])
      const paced = await repeat({ program, bytes: SIZES[0], rate: PACED_RATE })
      const found = figures(`${SIZES[0]} B at ${PACED_RATE} calls/s`, paced, true)
      for (const bytes of SIZES)
        found.push(...figures(`${bytes} B unthrottled`, await repeat({ program, bytes, rate: 0 }), false))
      const conditions = {
        producers: 1,
        seconds: DURATION_MS / 1000,
        runs: RUNS,
        ringMiB: RING_BYTES / MIB,
        cores: cpus().length,
        kernel: release(),
        node: process.version,
      }
      return { figures: found, conditions }
    } finally {
      rmSync(directory, { recursive: true })
    }
  },
}
