import {
  type Channel,
  type Client,
  type CompatServiceDefinition,
  createChannel,
  createClientFactory,
} from 'nice-grpc'
import { errorDetailsMiddleware } from './grpc-error.js'
import { clientTracing } from './grpc-tracing.js'

const MIB = 1024 * 1024

export interface ConnectOptions {
  /** HTTP/2 flow-control window for what this side receives, bytes. */
  readonly windowBytes?: number
  /** Largest message taken, bytes. */
  readonly maxMessageBytes?: number
}

/**
 * A plaintext channel to HOST:PORT. It connects when first used and reconnects by itself; calls are never
 * retried by the library, because retry buffers of long streams grow without bound (grpc/grpc-node#2371).
 */
export function connect(address: string, options: ConnectOptions = {}): Channel {
  const { windowBytes = MIB, maxMessageBytes = 16 * MIB } = options
  return createChannel(address, undefined, {
    'grpc.enable_retries': 0,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.keepalive_permit_without_calls': 0,
    'grpc.initial_reconnect_backoff_ms': 250,
    'grpc.max_reconnect_backoff_ms': 10_000,
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc-node.flow_control_window': windowBytes,
  })
}

/** A client of one service whose errors keep their details for detailsOf(); calls are traced. */
export function createRpcClient<Service extends CompatServiceDefinition>(
  definition: Service,
  channel: Channel,
): Client<Service> {
  return createClientFactory().use(errorDetailsMiddleware).use(clientTracing).create(definition, channel)
}
