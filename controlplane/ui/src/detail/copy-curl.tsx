import { useState } from 'react'
import { ArtifactKind, type HttpRequest } from '../../../../gen/cleartap/event/v1/event.js'
import { decodeText, detectBodyKind } from '../../../ui-model/body-content.js'
import { type CurlBody, curlCommand } from '../../../ui-model/curl.js'
import { artifactOf, originOf } from '../../../ui-model/exchange.js'
import type { HttpHeads } from '../../../ui-model/http-headers.js'
import { reasonOf } from '../../../ui-model/problem.js'
import { fetchObject } from '../objects.js'
import type { Loaded } from './use-loaded.js'

const MAX_INLINE_BODY_BYTES = 64n * 1024n

/** Copies the request as a curl command; the body comes along if it is short text. */
export function CopyCurl({ http, heads }: { http: HttpRequest; heads: Loaded<HttpHeads | undefined> }) {
  const [outcome, setOutcome] = useState('')
  const head = heads.kind === 'ready' ? heads.value?.request : undefined
  const copy = async () => {
    if (head === undefined) return
    try {
      const body = await curlBody(http)
      await navigator.clipboard.writeText(curlCommand(originOf(http), head, body))
      setOutcome(body.kind === 'file' ? 'Copied; save the body as request-body.bin' : 'Copied')
    } catch (error) {
      setOutcome(`Not copied: ${reasonOf(error)}`)
    }
  }
  return (
    <span className="copy">
      <span role="status">{outcome}</span>
      <button
        type="button"
        className="quiet"
        disabled={head === undefined}
        title={head === undefined ? 'Needs the stored headers' : undefined}
        onClick={() => void copy()}
      >
        Copy as cURL
      </button>
    </span>
  )
}

async function curlBody(http: HttpRequest): Promise<CurlBody> {
  const artifact = artifactOf(http, ArtifactKind.ARTIFACT_KIND_HTTP_REQUEST_BODY)
  if (artifact === undefined) return { kind: 'none' }
  if (artifact.truncated || artifact.size > MAX_INLINE_BODY_BYTES)
    return { kind: 'file', name: 'request-body.bin' }
  const { bytes } = await fetchObject(artifact, new AbortController().signal)
  const kind = detectBodyKind(bytes, artifact.contentType)
  if (kind === 'json' || kind === 'text') return { kind: 'text', text: decodeText(bytes) }
  return { kind: 'file', name: 'request-body.bin' }
}
