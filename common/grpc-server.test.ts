import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import http2 from 'node:http2'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ClientError, ServerError, Status } from 'nice-grpc'
import { IngestServiceDefinition } from '../gen/cleartap/pulse/v1/ingest.js'
import { HealthCheckResponse_ServingStatus, HealthDefinition } from '../gen/grpc/health/v1/health.js'
import { ServerReflectionDefinition } from '../gen/grpc/reflection/v1/reflection.js'
import { connect, createRpcClient } from './grpc-client.js'
import { detailsOf, rpcError } from './grpc-error.js'
import { type GrpcServer, startGrpcServer } from './grpc-server.js'
import { createLogger, type Logger } from './log.js'
import { packageRoot } from './version.js'

const run = promisify(execFile)
const buf = fileURLToPath(new URL('node_modules/.bin/buf', packageRoot))

/** A known shape under another name, for methods that misbehave. */
const faultyDefinition = {
  ...HealthDefinition,
  name: 'Faulty',
  fullName: 'test.v1.Faulty',
} as const

describe('gRPC server', () => {
  const lines: string[] = []
  const logger: Logger = createLogger('test', {
    level: 'debug',
    format: 'json',
    destination: { write: (line) => lines.push(line) },
  })
  let server: GrpcServer

  before(async () => {
    server = await startGrpcServer({
      listen: '127.0.0.1:0',
      logger,
      services: [IngestServiceDefinition.fullName],
      register: (registry) =>
        registry.add(faultyDefinition, {
          async check() {
            throw new Error('database password is hunter2')
          },
          async *watch() {
            yield { status: HealthCheckResponse_ServingStatus.SERVING }
            throw rpcError(Status.RESOURCE_EXHAUSTED, 'QUOTA_EXCEEDED', 'too much', {
              metadata: { org: 'default' },
              retryDelayMs: 1500,
              badRequest: [{ field: 'a.b', description: 'too long' }],
              resource: { type: 'block', name: 'b1', description: '' },
              quota: [{ subject: 'org:default', description: 'events' }],
              precondition: [{ type: 'NONCE', subject: 'n', description: 'stale' }],
            })
          },
          async list() {
            throw new ServerError(Status.UNAVAILABLE, 'plain')
          },
        }),
    })
  })

  after(() => server.stop(500))

  it('lists services to buf curl by reflection', async () => {
    const base = ['curl', '--http2-prior-knowledge', '--protocol', 'grpc']
    for (const version of ['grpc-v1', 'grpc-v1alpha']) {
      const { stdout } = await run(buf, [
        ...base,
        '--reflect-protocol',
        version,
        '--list-methods',
        `http://${server.address}`,
      ]).catch((error: { stdout?: string; stderr?: string }) => {
        assert.fail(`buf curl: ${error.stdout} ${error.stderr}`)
      })
      assert.match(stdout, /grpc\.health\.v1\.Health\/Watch/)
      assert.match(stdout, /cleartap\.pulse\.v1\.IngestService\//)
    }
    const { stdout } = await run(buf, [
      ...base,
      '-d',
      '{}',
      `http://${server.address}/grpc.health.v1.Health/Check`,
    ])
    assert.deepEqual(JSON.parse(stdout), { status: 'NOT_SERVING' })
  })

  it('answers reflection for symbols, files, extensions and what does not exist', async () => {
    const channel = connect(server.address)
    const client = createRpcClient(ServerReflectionDefinition, channel)
    async function* ask() {
      for (const messageRequest of [
        { $case: 'fileContainingSymbol', value: 'cleartap.pulse.v1.IngestService' },
        { $case: 'fileByFilename', value: 'grpc/health/v1/health.proto' },
        { $case: 'allExtensionNumbersOfType', value: 'google.protobuf.MethodOptions' },
        { $case: 'fileContainingSymbol', value: 'no.such.Thing' },
      ] as const) {
        yield { host: '', messageRequest }
      }
    }
    const cases: (string | undefined)[] = []
    for await (const { messageResponse } of client.serverReflectionInfo(ask())) {
      cases.push(messageResponse?.$case)
    }
    channel.close()
    assert.deepEqual(cases, [
      'fileDescriptorResponse',
      'fileDescriptorResponse',
      'allExtensionNumbersResponse',
      'errorResponse',
    ])
  })

  it('reports health and its changes', async () => {
    const channel = connect(server.address)
    const client = createRpcClient(HealthDefinition, channel)
    const seen: string[] = []
    for await (const { status } of client.watch({ service: IngestServiceDefinition.fullName })) {
      seen.push(String(status))
      if (seen.length === 1) server.setServing(true)
      if (seen.length === 2) server.setServing(false)
      if (seen.length === 3) break
    }
    assert.deepEqual(seen, ['2', '1', '2'])
    await assert.rejects(client.check({ service: 'nobody' }), (error: unknown) => {
      assert.equal(detailsOf(error)?.reason, 'UNKNOWN_SERVICE')
      return error instanceof ClientError && error.code === Status.NOT_FOUND
    })
    channel.close()
  })

  it('hides faults of its own, logs them once, and hands on refusals with details', async () => {
    const channel = connect(server.address)
    const client = createRpcClient(faultyDefinition, channel)
    lines.length = 0
    await assert.rejects(client.check({}), (error: unknown) => {
      assert.ok(error instanceof ClientError)
      assert.equal(error.code, Status.INTERNAL)
      assert.equal(error.details, 'internal error')
      return true
    })
    assert.equal(lines.filter((line) => line.includes('call failed')).length, 1)
    await assert.rejects(
      async () => {
        for await (const _ of client.watch({}));
      },
      (error: unknown) => {
        assert.deepEqual(detailsOf(error), {
          reason: 'QUOTA_EXCEEDED',
          domain: 'cleartap.dev',
          metadata: { org: 'default' },
          retryDelayMs: 1500,
          badRequest: [{ field: 'a.b', description: 'too long' }],
          resource: { type: 'block', name: 'b1', description: '' },
          quota: [{ subject: 'org:default', description: 'events' }],
          precondition: [{ type: 'NONCE', subject: 'n', description: 'stale' }],
        })
        return true
      },
    )
    await assert.rejects(client.list({}), (error: unknown) => {
      return error instanceof ClientError && error.code === Status.UNAVAILABLE
    })
    channel.close()
  })

  it('offers a window of 1 MiB a stream and a connection', async () => {
    const session = http2.connect(`http://${server.address}`)
    await once(session, 'remoteSettings')
    assert.equal(session.remoteSettings.initialWindowSize, 1024 * 1024)
    await new Promise<void>((resolve) => session.ping(() => resolve()))
    assert.equal(session.state.remoteWindowSize, 1024 * 1024)
    session.close()
  })

  it('refuses to listen beyond loopback, and says which address is taken', async () => {
    const options = { logger, services: [], register: () => {} }
    await assert.rejects(startGrpcServer({ ...options, listen: '0.0.0.0:0' }), /only loopback/)
    await assert.rejects(startGrpcServer({ ...options, listen: server.address }), /cannot listen on 127/)
  })
})
