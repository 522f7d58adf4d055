import type { ArtifactRef } from '../../../../gen/cleartap/event/v1/event.js'
import { truncationNotice } from '../../../ui-model/exchange.js'
import { formatBytes, toHex } from '../../../ui-model/format.js'
import { decodeBody, fetchObject } from '../objects.js'
import { BodyView } from './body-view.js'
import { useLoaded } from './use-loaded.js'

interface BodyTabProps {
  readonly artifact: ArtifactRef | undefined
  /** The whole body's size, stored or not. */
  readonly bodyBytes: bigint
  /** False while the headers, which say the content coding, are being fetched. */
  readonly isHeadKnown: boolean
  readonly contentEncoding: string | undefined
  readonly name: 'request' | 'response'
}

export function BodyTab({ artifact, ...props }: BodyTabProps) {
  if (artifact !== undefined) return <StoredBody artifact={artifact} {...props} />
  if (props.bodyBytes === 0n) return <p className="note">The {props.name} had no body.</p>
  return (
    <p className="note">
      The {props.name} had a body of {formatBytes(props.bodyBytes)}, but it was not stored: the agent’s
      capture level keeps none, or its store was full.
    </p>
  )
}

function StoredBody(props: BodyTabProps & { readonly artifact: ArtifactRef }) {
  const { artifact, bodyBytes, isHeadKnown, contentEncoding, name } = props
  const body = useLoaded(
    async (signal) => {
      const object = await fetchObject(artifact, signal)
      return { ...object, stored: object.bytes, ...(await decodeBody(object.bytes, contentEncoding)) }
    },
    [artifact, isHeadKnown, contentEncoding],
  )
  const cut = truncationNotice(artifact, bodyBytes)
  return (
    <>
      {cut !== undefined && <p className="warning">The body was too long to keep whole: {cut}.</p>}
      {body.kind === 'loading' && <p className="note">Fetching the body from the bucket…</p>}
      {body.kind === 'failed' && (
        <p className="warning" role="alert">
          {body.reason}
        </p>
      )}
      {body.kind === 'ready' && (
        <>
          {!body.value.isVerified && (
            <p className="warning">
              Not verified: a browser checks hashes only on pages that come over HTTPS or from this machine.
            </p>
          )}
          <p className="note">
            {formatBytes(body.value.stored.length)} from the bucket
            {body.value.isVerified && (
              <span title={toHex(artifact.sha256)}>
                , SHA-256 <code>{toHex(artifact.sha256).slice(0, 12)}…</code> verified
              </span>
            )}
            . {body.value.note}
          </p>
          <BodyView bytes={body.value.bytes} contentType={artifact.contentType} name={name} />
        </>
      )}
    </>
  )
}
