/** The real Pulse with a control plane over it, and events to send. For the suites that read events. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { uuidv7obj } from 'uuidv7'
import { connect, createRpcClient } from '../common/grpc-client.js'
import { checkout } from '../deploy/local/checkout.js'
import { type Program, startProgram, stopAll } from '../deploy/local/process.js'
import { Compression } from '../gen/cleartap/event/v1/compression.js'
import { type Event, Events, type Peer } from '../gen/cleartap/event/v1/event.js'
import { IngestServiceDefinition } from '../gen/cleartap/pulse/v1/ingest.js'
import type { Request } from '../gen/cleartap/pulse/v1/query.js'
import { withTemporaryDirectory } from './directory.js'

const readyTimeoutMs = 60_000

/** Time of event number 0. */
export const firstNano = 1_795_000_000_000_000_000n
export const nanosPerSecond = 1_000_000_000n

/** Pulse can be stopped and started again at the same address. */
export interface PulseStack {
  readonly http: string
  readonly controlPlane: Program
  pulse: Program
  readonly startPulse: () => Promise<Program>
  readonly agent: Agent
}

/** Sends batches as an agent does, waiting for each to be committed. */
export class Agent {
  readonly #channel
  readonly #client
  readonly #key = { streamId: Buffer.from(uuidv7obj().bytes), epoch: 1n }
  #sequence = 0n

  constructor(address: string) {
    this.#channel = connect(address)
    this.#client = createRpcClient(IngestServiceDefinition, this.#channel)
  }

  async send(events: readonly Event[]): Promise<void> {
    const process = { pid: 4242, parentPid: 1, uid: 1000, comm: 'curl', exe: '/usr/bin/curl', user: 'ada' }
    const payload = Buffer.from(
      Events.encode(Events.fromPartial({ processes: [process], events: [...events] })).finish(),
    )
    this.#sequence += 1n
    const { ack, nack } = await this.#client.pushBatch({
      key: this.#key,
      hello: { key: this.#key, host: 'box-1', agentId: Buffer.alloc(16, 7), agentVersion: '0.1.0' },
      batch: {
        sequence: this.#sequence,
        firstUnixNano: events[0]?.timeUnixNano ?? 0n,
        lastUnixNano: events.at(-1)?.timeUnixNano ?? 0n,
        eventCount: events.length,
        crc32: crc32(payload),
        compression: Compression.COMPRESSION_NONE,
        payload,
      },
    })
    assert.equal(nack, undefined)
    assert.equal(ack?.accepted, BigInt(events.length))
  }

  close(): void {
    this.#channel.close()
  }
}

/** Request number i: every tenth fails, every third is a POST; one a second. */
export function makeEvent(i: number, path = `/items/${i}`): Event {
  return {
    eventId: Buffer.from(uuidv7obj().bytes),
    timeUnixNano: firstNano + BigInt(i) * nanosPerSecond,
    process: 0,
    kind: {
      $case: 'httpRequest',
      value: {
        connectionId: Buffer.alloc(16, 1),
        peer,
        protocol: 'http/1.1',
        tlsLibrary: 'openssl',
        method: i % 3 === 0 ? 'POST' : 'GET',
        scheme: 'https',
        host: 'shop.example:8443',
        path,
        query: 'page=',
        status: i % 10 === 0 ? 503 : 200,
        firstByteNano: 1_000_000n,
        durationNano: 2_000_000n,
        requestBytes: 400n,
        responseBytes: 2n ** 53n + 1n,
        requestBodyBytes: 0n,
        responseBodyBytes: 100n,
        requestContentType: '',
        responseContentType: 'application/json',
        userAgent: 'curl/8.9.1',
        completeness: 1,
        bytesLost: 0n,
        traceId: Buffer.alloc(0),
        spanId: Buffer.alloc(0),
        indexInConnection: i,
        artifacts: [],
      },
    },
  }
}

const peer: Peer = {
  confidence: 3,
  direction: 2,
  localAddress: Buffer.from([127, 0, 0, 1]),
  localPort: 40_000,
  remoteAddress: Buffer.from('20010db8000000000000000000000001', 'hex'),
  remotePort: 8443,
}

/** Path of a stored request. */
export function pathOf(request: Request): string {
  const kind = request.event?.kind
  return kind?.$case === 'httpRequest' ? kind.value.path : '(not HTTP)'
}

const startStack = async (directory: string, stops: (() => Promise<unknown>)[]): Promise<PulseStack> => {
  let pulseListen = '127.0.0.1:0'
  const admin = { listen: '127.0.0.1:0' }
  const start = async (name: string, file: string, settings: object): Promise<Program> => {
    const config = join(directory, `${name}.yaml`)
    await writeFile(config, JSON.stringify({ data_dir: join(directory, name), admin, ...settings }))
    const program = await startProgram({
      name,
      command: checkout.node,
      args: [file, '--config', config],
      logPath: join(directory, `${name}.log`),
    })
    stops.push(() => program.stop())
    return program
  }
  const startPulse = async () => {
    const program = await start('pulse', checkout.pulse, { listen: pulseListen })
    pulseListen = String((await program.ready(readyTimeoutMs))['listen'])
    return program
  }
  const pulse = await startPulse()
  const controlPlane = await start('controlplane', checkout.controlplane, {
    listen: '127.0.0.1:0',
    http: { listen: '127.0.0.1:0' },
    pulse: { address: pulseListen },
  })
  const { http } = await controlPlane.ready(readyTimeoutMs)
  const agent = new Agent(pulseListen)
  stops.push(async () => agent.close())
  return { http: String(http), controlPlane, pulse, startPulse, agent }
}

/** Calls use with a started stack; afterwards nothing of it is left. */
export const withPulseStack = (use: (stack: PulseStack) => Promise<void>): Promise<void> =>
  withTemporaryDirectory(async (directory) => {
    const stops: (() => Promise<unknown>)[] = []
    try {
      await use(await startStack(directory, stops))
    } finally {
      await stopAll(stops)
    }
  })
