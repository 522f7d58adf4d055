/** Asks the running stack for what it captured: events of Pulse, bodies from the bucket by signed URL. */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, createRpcClient } from '../../common/grpc-client.js'
import { ObjectServiceDefinition } from '../../gen/cleartap/controlplane/v1/objects.js'
import type { ArtifactRef } from '../../gen/cleartap/event/v1/event.js'
import type { Filter, Request, TailEventsResponse } from '../../gen/cleartap/pulse/v1/query.js'
import { Op, QueryServiceDefinition } from '../../gen/cleartap/pulse/v1/query.js'
import type { Stack } from './stack.js'

const pageSize = 1000
const pollMs = 200

export interface Queries {
  /** Every stored request whose path starts with the prefix, oldest first. */
  listByPath(prefix: string): Promise<readonly Request[]>
  /**
   * Asks again until done says so or the time is up; gives the last answer either way. A failing question is asked
   * again too, since Pulse may be restarting; its error is thrown when the time is up.
   */
  waitByPath(
    prefix: string,
    done: (requests: readonly Request[]) => boolean,
    timeoutMs: number,
  ): Promise<readonly Request[]>
  tail(signal: AbortSignal): AsyncIterable<TailEventsResponse>
  /** Fetches an object by signed URL and checks its size and SHA-256 against the reference. */
  fetchObject(artifact: ArtifactRef): Promise<Uint8Array>
  close(): void
}

const pathPrefix = (prefix: string): Filter => ({
  node: {
    $case: 'comparison',
    value: { field: 'req.path', op: Op.OP_PREFIX, values: [{ kind: { $case: 'text', value: prefix } }] },
  },
})

const checkObject = (artifact: ArtifactRef, bytes: Uint8Array): void => {
  if (BigInt(bytes.length) !== artifact.size) {
    throw new Error(`object ${artifact.key} has ${bytes.length} bytes, its event says ${artifact.size}`)
  }
  const digest = createHash('sha256').update(bytes).digest()
  if (!digest.equals(artifact.sha256)) {
    throw new Error(`object ${artifact.key} has SHA-256 ${digest.toString('hex')}, not that of its event`)
  }
}

/** Opens channels to Pulse and control plane; close ends them. */
export const openQueries = (stack: Pick<Stack, 'pulse' | 'controlplane'>): Queries => {
  const pulseChannel = connect(stack.pulse.address('listen'))
  const controlChannel = connect(stack.controlplane.address('listen'))
  const query = createRpcClient(QueryServiceDefinition, pulseChannel)
  const objects = createRpcClient(ObjectServiceDefinition, controlChannel)

  const listByPath = async (prefix: string): Promise<readonly Request[]> => {
    const found: Request[] = []
    let pageToken = ''
    do {
      const page = await query.listRequests({ filter: pathPrefix(prefix), pageSize, pageToken })
      found.push(...page.requests)
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    return found.reverse()
  }

  return {
    listByPath,
    waitByPath: async (prefix, done, timeoutMs) => {
      const deadlineMs = performance.now() + timeoutMs
      for (;;) {
        const isLast = performance.now() > deadlineMs
        const found = await listByPath(prefix).catch((error: unknown) => {
          if (isLast) throw error
          return undefined
        })
        if (found !== undefined && (isLast || done(found))) return found
        await sleep(pollMs)
      }
    },
    tail: (signal) => query.tailEvents({}, { signal }),
    fetchObject: async (artifact) => {
      const { url } = await objects.getDownloadUrl({ store: artifact.store, key: artifact.key })
      const response = await fetch(url)
      if (!response.ok) throw new Error(`object ${artifact.key}: the bucket answers ${response.status}`)
      const bytes = new Uint8Array(await response.arrayBuffer())
      checkObject(artifact, bytes)
      return bytes
    },
    close: () => {
      pulseChannel.close()
      controlChannel.close()
    },
  }
}
