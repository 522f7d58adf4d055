import { EventEmitter, once } from 'node:events'
import { type CallContext, Status } from 'nice-grpc'
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  type HealthListResponse,
  type HealthServiceImplementation,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../gen/grpc/health/v1/health.js'
import { rpcError } from './grpc-error.js'

/** grpc.health.v1 for a fixed list of services that all serve or do not. Watch streams end with close(). */
export class HealthService {
  readonly #names: ReadonlySet<string>
  readonly #changes = new EventEmitter().setMaxListeners(0)
  #serving = false
  #closed = false

  /** Full names of the services; the empty name, for the whole server, is added. */
  constructor(services: readonly string[]) {
    this.#names = new Set(['', ...services])
  }

  setServing(on: boolean): void {
    this.#serving = on
    this.#changes.emit('change')
  }

  close(): void {
    this.#closed = true
    this.#changes.emit('change')
  }

  implementation(): HealthServiceImplementation {
    return {
      check: async (request) => this.#check(request),
      watch: (request, context) => this.#watch(request, context),
      list: async () => this.#list(),
    }
  }

  #statusOf(service: string): ServingStatus {
    if (!this.#names.has(service)) return ServingStatus.SERVICE_UNKNOWN
    return this.#serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING
  }

  #check({ service }: HealthCheckRequest): HealthCheckResponse {
    const status = this.#statusOf(service)
    if (status === ServingStatus.SERVICE_UNKNOWN) {
      throw rpcError(Status.NOT_FOUND, 'UNKNOWN_SERVICE', 'no such service', {
        resource: { type: 'grpc.service', name: service.slice(0, 200) },
      })
    }
    return { status }
  }

  async *#watch({ service }: HealthCheckRequest, context: CallContext): AsyncGenerator<HealthCheckResponse> {
    let sent: ServingStatus | undefined
    while (!context.signal.aborted) {
      const status = this.#statusOf(service)
      if (status !== sent) {
        sent = status
        yield { status }
      } else if (this.#closed) {
        return
      } else {
        await once(this.#changes, 'change', { signal: context.signal })
      }
    }
  }

  #list(): HealthListResponse {
    return {
      statuses: Object.fromEntries([...this.#names].map((name) => [name, { status: this.#statusOf(name) }])),
    }
  }
}
