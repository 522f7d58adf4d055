import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js'
import { createServer, type Server, ServerError, type ServerMiddleware, Status } from 'nice-grpc'
import { HealthDefinition } from '../gen/grpc/health/v1/health.js'
import { ServerReflectionDefinition } from '../gen/grpc/reflection/v1/reflection.js'
import { ServerReflectionDefinition as ServerReflectionAlphaDefinition } from '../gen/grpc/reflection/v1alpha/reflection.js'
import { loadDescriptors } from './descriptors.js'
import { RpcError, rpcError, statusDetailsKey } from './grpc-error.js'
import { HealthService } from './grpc-health.js'
import { createReflectionService } from './grpc-reflection.js'
import { serverTracing } from './grpc-tracing.js'
import { withServerWindow } from './grpc-window.js'
import { formatAddress, parseLoopbackAddress } from './listen-address.js'
import type { Logger } from './log.js'

const KIB = 1024
const MIB = 1024 * KIB

export interface GrpcServerOptions {
  /** Loopback HOST:PORT; port 0 lets the system choose. */
  readonly listen: string
  readonly logger: Logger
  /** Largest message taken or sent, bytes; absent: 4 MiB and 64 KiB for what surrounds a full batch. */
  readonly maxMessageBytes?: number
  /** HTTP/2 flow-control window of a stream and of a connection, bytes; absent: 1 MiB. */
  readonly windowBytes?: number
  /** Adds the services. */
  readonly register: (server: Server) => void
  /** Full names of the services, for health and reflection. */
  readonly services: readonly string[]
}

export interface GrpcServer {
  /** HOST:PORT as bound. */
  readonly address: string
  /** Health of all services; false until called. */
  setServing(on: boolean): void
  /** Turns health to NOT_SERVING, takes no new calls, waits graceMs for running ones, then ends them. */
  stop(graceMs: number): Promise<void>
}

/** Starts a plaintext gRPC server on loopback, with health (Watch too) and reflection (v1 and v1alpha). */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const { listen, logger, windowBytes = MIB } = options
  const { host, port } = parseLoopbackAddress(listen)
  // What the library would print on standard error by itself comes back as errors anyway.
  setLogVerbosity(logVerbosity.NONE)
  const health = new HealthService(options.services)
  const server = createServer(channelOptions(options.maxMessageBytes ?? 4 * MIB + 64 * KIB))
    .use(errorMiddleware(logger))
    .use(serverTracing)
  options.register(server)
  addStandardServices(server, health, options.services)
  const boundPort = await bind(server, formatAddress({ host, port }), windowBytes)
  return {
    address: formatAddress({ host, port: boundPort }),
    setServing: (on) => health.setServing(on),
    stop: (graceMs) => stopServer(server, health, graceMs),
  }
}

function channelOptions(maxMessageBytes: number) {
  return {
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc.max_concurrent_streams': 1000,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.so_reuseport': 0,
    'grpc-node.max_session_memory': 64,
  }
}

function addStandardServices(server: Server, health: HealthService, services: readonly string[]): void {
  const names = [
    ...services,
    HealthDefinition.fullName,
    ServerReflectionDefinition.fullName,
    ServerReflectionAlphaDefinition.fullName,
  ]
  const reflection = createReflectionService(names, loadDescriptors())
  server.add(HealthDefinition, health.implementation())
  server.add(ServerReflectionDefinition, reflection)
  server.add(ServerReflectionAlphaDefinition, reflection)
}

async function bind(server: Server, address: string, windowBytes: number): Promise<number> {
  try {
    return await withServerWindow(windowBytes, () => server.listen(address))
  } catch (error) {
    throw new Error(
      `cannot listen on ${address}: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    )
  }
}

async function stopServer(server: Server, health: HealthService, graceMs: number): Promise<void> {
  health.setServing(false)
  health.close()
  const timer = setTimeout(() => server.forceShutdown(), graceMs)
  try {
    await server.shutdown()
  } finally {
    clearTimeout(timer)
  }
}

/**
 * The one place where errors become statuses. Refusals pass with their details; cancellation passes; anything
 * else is a fault of ours: logged with its stack, answered with INTERNAL and no more.
 */
function errorMiddleware(logger: Logger): ServerMiddleware {
  return async function* (call, context) {
    try {
      return yield* call.next(call.request, context)
    } catch (error) {
      const refusal = toRefusal(error)
      if (refusal === undefined) logger.error({ error, method: call.method.path }, 'call failed')
      const answer = refusal ?? rpcError(Status.INTERNAL, 'INTERNAL', 'internal error')
      if (answer instanceof RpcError) context.trailer.set(statusDetailsKey, answer.statusBytes)
      throw answer
    }
  }
}

function toRefusal(error: unknown): Error | undefined {
  if (error instanceof ServerError) return error
  return error instanceof Error && error.name === 'AbortError' ? error : undefined
}
