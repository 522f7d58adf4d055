/** The REST calls of the page, each answered with a generated message. */
import {
  GetDownloadUrlRequest,
  GetDownloadUrlResponse,
} from '../../../gen/cleartap/controlplane/v1/objects.js'
import type { ArtifactRef } from '../../../gen/cleartap/event/v1/event.js'
import { ListRequestsResponse, Request } from '../../../gen/cleartap/pulse/v1/query.js'
import { type AgentView, parseAgents } from '../../ui-model/agents.js'
import { filterParams, type RequestFilter } from '../../ui-model/filter.js'
import { problemSentence, reasonOf } from '../../ui-model/problem.js'

const PAGE_SIZE = 200

/** Requests that match, newest first; pageToken is "" for the first page. Rejects with a sentence for people. */
export async function listRequests(
  filter: RequestFilter,
  pageToken: string,
  signal: AbortSignal,
): Promise<ListRequestsResponse> {
  const params = filterParams(filter)
  params.set('pageSize', String(PAGE_SIZE))
  if (pageToken !== '') params.set('pageToken', pageToken)
  const answer = await getJson('The list of requests', `/api/v1/requests?${params}`, signal)
  return ListRequestsResponse.fromJSON(answer)
}

/** One request by the UUID text of its event. */
export async function getRequest(id: string, signal: AbortSignal): Promise<Request> {
  return Request.fromJSON(await getJson('The request', `/api/v1/requests/${id}`, signal))
}

export async function listAgents(signal: AbortSignal): Promise<readonly AgentView[]> {
  return parseAgents(await getJson('The list of agents', '/api/v1/agents', signal))
}

/** A signed URL of the bucket, good for a minute. */
export async function signObject(artifact: ArtifactRef, signal: AbortSignal): Promise<string> {
  const body = GetDownloadUrlRequest.toJSON(
    GetDownloadUrlRequest.create({ store: artifact.store, key: artifact.key }),
  )
  const answer = await callJson('Signing the download', '/api/v1/object-urls', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  })
  return GetDownloadUrlResponse.fromJSON(answer).url
}

function getJson(what: string, url: string, signal: AbortSignal): Promise<unknown> {
  return callJson(what, url, { signal })
}

async function callJson(what: string, url: string, init: RequestInit): Promise<unknown> {
  const response = await reach(what, url, init)
  const text = await response.text()
  if (!response.ok) throw new Error(problemSentence(what, response.status, text))
  try {
    return JSON.parse(text)
  } catch {
    throw new Error(`${what} failed: the control plane answered something that is not JSON.`)
  }
}

async function reach(what: string, url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init)
  } catch (error) {
    if (init.signal?.aborted) throw error
    throw new Error(`${what} failed: the control plane cannot be reached (${reasonOf(error)}).`, {
      cause: error,
    })
  }
}

/**
 * Opens the tail. resumeToken is "" for a new one. Resolves when the control plane has accepted it;
 * rejects with a TailRefused if it did not.
 */
export async function openTail(
  filter: RequestFilter,
  resumeToken: string,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const headers = new Headers({ accept: 'text/event-stream' })
  if (resumeToken !== '') headers.set('last-event-id', resumeToken)
  const query = filterParams(filter).toString()
  const url = `/api/v1/requests/tail${query === '' ? '' : `?${query}`}`
  const response = await reach('The live tail', url, { headers, signal, cache: 'no-store' })
  if (response.ok && response.body !== null) return response.body
  const reason = problemSentence('The live tail', response.status, await response.text())
  throw new TailRefused(reason, response.status)
}

/** The control plane answered, but with an error. */
export class TailRefused extends Error {
  readonly status: number

  constructor(message: string, status: number) {
    super(message)
    this.status = status
  }
}
