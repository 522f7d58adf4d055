/** What capture costs a busy server: nginx with keep-alive TLS, agent off and on in turn. */
import { type ChildProcess, execFile, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { constants, cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { checkout } from '../deploy/local/checkout.js'
import { findFreePorts } from '../deploy/local/ports.js'
import { makeCertificate } from '../deploy/local/traffic.js'
import type { Bench, Figure } from './bench.js'

const run = promisify(execFile)
const SECONDS = 5
const PAIRS = 3
const CONNECTIONS = 32
const RATIO_MARK = 0.45
const READY_TIMEOUT_MS = 20_000
const SIZES = [
  { name: '1 KiB', path: '1k', bytes: 1024, mark: RATIO_MARK },
  { name: '100 KiB', path: '100k', bytes: 102_400, mark: undefined },
] as const

interface Load {
  readonly requestsPerSecond: number
  readonly p99Ms: number
}

const nginxConfig = (directory: string, port: number): string => `
daemon off; user root; worker_processes 1; pid ${directory}/nginx.pid; error_log ${directory}/error.log;
events { worker_connections 512; }
http {
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi; uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
  server {
    listen 127.0.0.1:${port} ssl; root ${directory}/www;
    ssl_certificate ${directory}/certificate.pem; ssl_certificate_key ${directory}/key.pem;
  }
}
`

/** A child that is told to end when this process is gone, however it went. */
function spawnBound(program: string, args: readonly string[], stdio: StdioOptions): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'TERM', program, ...args], { stdio })
}

async function startNginx(directory: string, port: number): Promise<ChildProcess> {
  await makeCertificate(directory)
  mkdirSync(join(directory, 'www'))
  for (const { path, bytes } of SIZES) writeFileSync(join(directory, 'www', path), 'a'.repeat(bytes))
  const config = join(directory, 'nginx.conf')
  writeFileSync(config, nginxConfig(directory, port))
  const child = spawnBound('nginx', ['-p', directory, '-c', config], 'ignore')
  await orStop(child, answers(`https://127.0.0.1:${port}/1k`, child))
  return child
}

/** Waits until the URL answers with success. Throws if the process ends or the time is up. */
async function answers(url: string, child: ChildProcess): Promise<void> {
  const endMs = performance.now() + READY_TIMEOUT_MS
  for (;;) {
    try {
      await run('curl', ['-skf', '-o', '/dev/null', url])
      return
    } catch (error) {
      if (child.exitCode !== null || performance.now() > endMs)
        throw new Error(`nothing answers at ${url}`, { cause: error })
      await sleep(50)
    }
  }
}

/** A child that does not become ready is not left behind. */
async function orStop(child: ChildProcess, ready: Promise<void>): Promise<void> {
  try {
    await ready
  } catch (error) {
    await stop(child)
    throw error
  }
}

/** The agent as it is run in earnest: everything parsed, an event for each exchange, events to /dev/null. */
async function startAgent(directory: string, adminPort: number): Promise<ChildProcess> {
  const config = join(directory, 'agent.yaml')
  const document = {
    data_dir: join(directory, 'agent'),
    admin: { listen: `127.0.0.1:${adminPort}` },
    capture: { level: 'full', ignore: { comm: ['wrk'] } },
    sinks: [{ type: 'stdout', format: 'json' }],
  }
  writeFileSync(config, JSON.stringify(document))
  const log = openSync(join(directory, 'agent.log'), 'a')
  const args = [checkout.agent, 'agent', '--config', config]
  const nothing = openSync('/dev/null', 'w')
  const child = spawnBound(checkout.node, args, ['ignore', nothing, log])
  await orStop(child, answers(`http://127.0.0.1:${adminPort}/readyz`, child))
  return child
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

async function load(url: string): Promise<Load> {
  const args = ['-t1', `-c${CONNECTIONS}`, `-d${SECONDS}s`, '--latency', url]
  const { stdout } = await run('wrk', args)
  const rate = /Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]
  const p99 = /99%\s+([\d.]+)(us|ms|s)/.exec(stdout)
  if (rate === undefined || p99 === null || /Non-2xx|Socket errors/.test(stdout))
    throw new Error(`wrk said:\n${stdout}`)
  const scale = p99[2] === 'us' ? 0.001 : p99[2] === 'ms' ? 1 : 1000
  return { requestsPerSecond: Number(rate), p99Ms: Number(p99[1]) * scale }
}

/** Share of the plaintext that the agent could not take, in percent, as its own metrics say. */
async function lostPercent(adminPort: number): Promise<number> {
  const { stdout } = await run('curl', ['-sf', `http://127.0.0.1:${adminPort}/metrics`])
  const sum = (name: string) =>
    [...stdout.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))].reduce(
      (total, match) => total + Number(match[1]),
      0,
    )
  const lost = sum('cleartap_capture_lost_bytes_total')
  const taken = sum('cleartap_capture_bytes_total')
  if (taken === 0) throw new Error('the agent captured nothing')
  return (100 * lost) / (lost + taken)
}

function middle(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function figuresOf(
  size: (typeof SIZES)[number],
  off: readonly Load[],
  on: readonly Load[],
  lost: readonly number[],
): Figure[] {
  const rate = (loads: readonly Load[]) => middle(loads.map((each) => each.requestsPerSecond))
  const p99 = (loads: readonly Load[]) => middle(loads.map((each) => each.p99Ms))
  const ratios = off.map((each, index) => (on[index]?.requestsPerSecond ?? 0) / each.requestsPerSecond)
  const ratio = { name: `${size.name}: ratio on to off`, value: Number(middle(ratios).toFixed(3)), unit: '' }
  return [
    { name: `${size.name}: agent off`, value: Math.round(rate(off)), unit: 'requests/s' },
    { name: `${size.name}: agent on`, value: Math.round(rate(on)), unit: 'requests/s' },
    size.mark === undefined ? ratio : { ...ratio, mark: { value: size.mark, direction: 'at-least' } },
    {
      name: `${size.name}: plaintext lost, worst run`,
      value: Number(Math.max(...lost).toFixed(3)),
      unit: '%',
    },
    { name: `${size.name}: p99 off`, value: Number(p99(off).toFixed(2)), unit: 'ms' },
    { name: `${size.name}: p99 on`, value: Number(p99(on).toFixed(2)), unit: 'ms' },
  ]
}

/** Off and on in turn, so that a change of the machine's mood meets both. */
async function measure(directory: string, port: number, adminPort: number): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const size of SIZES) {
    const url = `https://127.0.0.1:${port}/${size.path}`
    const off: Load[] = []
    const on: Load[] = []
    const lost: number[] = []
    for (let pair = 0; pair < PAIRS; pair++) {
      off.push(await load(url))
      const agent = await startAgent(directory, adminPort)
      try {
        on.push(await load(url))
        lost.push(await lostPercent(adminPort))
      } finally {
        await stop(agent)
      }
    }
    figures.push(...figuresOf(size, off, on, lost))
  }
  return figures
}

export const overhead: Bench = {
  name: 'overhead',
  about: 'requests per second and p99 of nginx over TLS, agent off and on',
  async run() {
    const directory = mkdtempSync(join(tmpdir(), 'cleartap-overhead-'))
    const [port = 0, adminPort = 0] = await findFreePorts(2)
    const remove = () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
    const onSignal = (signal: NodeJS.Signals) => process.exit(128 + constants.signals[signal])
    for (const signal of signals) process.on(signal, onSignal)
    process.on('exit', remove)
    let nginx: ChildProcess | undefined
    try {
      nginx = await startNginx(directory, port)
      const conditions = {
        server: 'nginx, 1 worker, TLS, keep-alive',
        client: `wrk -t1 -c${CONNECTIONS} -d${SECONDS}s on the same machine, not captured`,
        captured: 'nginx: everything parsed, an event for each exchange, events to /dev/null, no store',
        pairs: PAIRS,
        cores: cpus().length,
        kernel: release(),
        node: process.version,
      }
      return { figures: await measure(directory, port, adminPort), conditions }
    } finally {
      if (nginx !== undefined) await stop(nginx)
      remove()
      process.off('exit', remove)
      for (const signal of signals) process.off(signal, onSignal)
    }
  },
}
