/** Plays an agent towards the control plane: one Sync stream that says hello and reports. */
import { uuidv7obj } from 'uuidv7'
import { connect, createRpcClient } from '../common/grpc-client.js'
import {
  type CaptureStats,
  ConfigServiceDefinition,
  type DeepPartial,
  type SyncRequest,
} from '../gen/cleartap/controlplane/v1/config.js'

export interface PlayedAgent {
  report(capture: DeepPartial<CaptureStats>): void
  /** Ends the stream and waits for the control plane to end it too. */
  leave(): Promise<void>
}

/** Connects as an agent of this host name that runs its own file. */
export const playAgent = (address: string, host: string): PlayedAgent => {
  const channel = connect(address)
  const waiting: DeepPartial<SyncRequest>[] = []
  const left = new AbortController()
  let wake = (): void => undefined
  let sequence = 0n
  const send = (message: DeepPartial<SyncRequest>['message']): void => {
    sequence += 1n
    waiting.push({ sequence, message })
    wake()
  }
  async function* requests(): AsyncGenerator<DeepPartial<SyncRequest>> {
    while (!left.signal.aborted) {
      const message = waiting.shift()
      if (message !== undefined) yield message
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  }
  const running = { resource: 'agent', version: 0n }
  const agentId = Buffer.from(uuidv7obj().bytes)
  const platform = { host, kernel: '6.18.44', architecture: 'x64' }
  send({ $case: 'hello', value: { agentId, bootId: 'boot', version: '0.1.0', platform, running } })
  const client = createRpcClient(ConfigServiceDefinition, channel)
  const reading = (async () => {
    for await (const response of client.sync(requests())) void response
  })()
  return {
    report: (capture) => send({ $case: 'heartbeat', value: { running, capture } }),
    leave: async () => {
      left.abort()
      wake()
      await reading
      channel.close()
    },
  }
}
