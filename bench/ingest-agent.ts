/**
 * The agent's side of the ingest benchmark, a process of its own: events through the agent's Pulse sink, spool
 * and all. Arguments: address, directory, events, artifacts an event. Prints one line of JSON.
 */
import { createHash, randomBytes } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { pino } from 'pino'
import { PulseSink } from '../agent/src/sinks/pulse/sink.js'
import type { EventRecord } from '../agent/src/sinks/sink.js'
import { sinkSchema } from '../common/config/schema.js'
import type { ArtifactRef, Process } from '../gen/cleartap/event/v1/event.js'

/** What the process prints. */
export interface AgentReport {
  readonly seconds: number
  /** User and system time while sending. */
  readonly cpuSeconds: number
  readonly acked: number
  readonly dropped: number
  readonly rejected: number
}

/** Events made in one turn, and events that may be under way (queue, spool and stream together). */
const EVENTS_A_TURN = 1000
const MAX_UNDER_WAY = 60_000
const PROCESSES = 20
const ids = randomBytes(16 * 4096)

const [address = '', directory = '', events = '0', artifacts = '0'] = process.argv.slice(2)
const report = await run(address, directory, Number(events), Number(artifacts))
process.stdout.write(`${JSON.stringify(report)}\n`)

async function run(to: string, spool: string, count: number, artifactCount: number): Promise<AgentReport> {
  const config = sinkSchema.parse({ type: 'pulse', address: to })
  if (config.type !== 'pulse') throw new Error('expected the Pulse sink')
  const sink = new PulseSink(config, {
    identity: { agentId: Buffer.alloc(16, 1), host: 'bench-host', version: '0.1.0' },
    directory: spool,
    log: pino({ level: 'silent' }),
  })
  const processes = Array.from({ length: PROCESSES }, (_, i) => processOf(i))
  const stores = Array.from({ length: artifactCount }, (_, i) => artifactOf(i))
  while (!sink.stats().connected) await setImmediate()
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  let made = 0
  while (sink.stats().ackedEvents < count) {
    const { ackedEvents } = sink.stats()
    const end = Math.min(count, made + EVENTS_A_TURN)
    if (made - ackedEvents < MAX_UNDER_WAY)
      for (; made < end; made += 1) sink.write(recordOf(made, processes, stores))
    await setImmediate()
  }
  const seconds = (performance.now() - startedAt) / 1000
  const cpu = process.cpuUsage(cpuBefore)
  const { ackedEvents, droppedQueueFull, droppedSpoolFailed, rejectedEvents } = sink.stats()
  await sink.close(1000)
  return {
    seconds,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    acked: ackedEvents,
    dropped: droppedQueueFull + droppedSpoolFailed,
    rejected: rejectedEvents,
  }
}

function processOf(i: number): Process {
  return {
    pid: 1000 + i,
    startBoottimeNano: 1_000_000_000n * BigInt(i),
    parentPid: 1,
    uid: 33,
    comm: `worker-${i}`,
    exe: `/usr/lib/service-${i}/worker`,
    user: 'www-data',
    containerId: createHash('sha256').update(String(i)).digest('hex'),
    cgroup: `/kubepods.slice/pod-${i}.slice/container.scope`,
  }
}

function artifactOf(i: number): ArtifactRef {
  const sha256 = createHash('sha256').update(`artifact ${i}`).digest()
  return {
    kind: i === 0 ? 1 : 3,
    sha256,
    size: 900n + BigInt(i),
    truncated: false,
    contentType: 'application/json',
    store: 'default',
    key: `v1/default/2026/11/23/${sha256.toString('hex')}`,
  }
}

/** An exchange: ids differ at random, hosts, paths, sizes and times as in traffic. */
function recordOf(i: number, processes: readonly Process[], artifacts: readonly ArtifactRef[]): EventRecord {
  const at = (i * 16) % (ids.length - 32)
  const eventId = Buffer.from(ids.subarray(at, at + 16))
  eventId.writeUInt32BE(i, 4)
  const process = processes[i % PROCESSES] ?? processOf(0)
  return {
    process,
    event: {
      eventId,
      timeUnixNano: BigInt(Date.now()) * 1_000_000n + BigInt(i % 1_000_000),
      process: 0,
      kind: {
        $case: 'httpRequest',
        value: {
          connectionId: ids.subarray(at + 8, at + 24),
          peer: {
            confidence: 3,
            direction: 2,
            localAddress: Buffer.from([10, 1, i & 7, i & 63]),
            localPort: 32_768 + (i % 20_000),
            remoteAddress: Buffer.from([10, 2, 0, i & 31]),
            remotePort: 443,
          },
          protocol: 'http/1.1',
          tlsLibrary: 'openssl',
          method: i % 4 === 0 ? 'POST' : 'GET',
          scheme: 'https',
          host: `service-${i % 40}.internal.example.com`,
          path: `/api/v2/customers/${i % 5000}/orders/${i}`,
          query: 'page=&limit=&sort=',
          status: i % 50 === 0 ? 503 : 200,
          firstByteNano: 1_200_000n + BigInt(i % 90_000),
          durationNano: 2_400_000n + BigInt(i % 170_000),
          requestBytes: 510n,
          responseBytes: 2_100n + BigInt(i % 3000),
          requestBodyBytes: 64n,
          responseBodyBytes: 1_800n + BigInt(i % 3000),
          requestContentType: 'application/json',
          responseContentType: 'application/json; charset=utf-8',
          userAgent: `orders-client/${i % 7}.4.1 (linux; x86_64) node/24.21.0`,
          completeness: 1,
          bytesLost: 0n,
          traceId: ids.subarray(at, at + 16),
          spanId: ids.subarray(at + 16, at + 24),
          indexInConnection: i % 100,
          artifacts: [...artifacts],
        },
      },
    },
  }
}
