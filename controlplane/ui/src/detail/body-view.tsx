import { useEffect, useMemo, useRef, useState } from 'react'
import {
  type BodyKind,
  decodeText,
  detectBodyKind,
  prettyJson,
  sniffImageType,
} from '../../../ui-model/body-content.js'
import { formatBytes } from '../../../ui-model/format.js'
import { hexLines } from '../../../ui-model/hex-view.js'
import { reasonOf } from '../../../ui-model/problem.js'

type Mode = 'pretty' | 'raw' | 'hex' | 'image'

const MODE_NAMES: Record<Mode, string> = { pretty: 'Pretty', raw: 'Raw', hex: 'Hex', image: 'Image' }
/** Text and hex are drawn up to these sizes; "Show more" goes on. */
const TEXT_STEP_CHARS = 256 * 1024
const HEX_STEP_BYTES = 16 * 1024
const PRETTY_LIMIT_BYTES = 8 * 1024 * 1024

interface BodyViewProps {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly contentType: string
  readonly name: string
}

/** A body as inert text, as hex or as pixels. Nothing of it is ever markup. */
export function BodyView({ bytes, contentType, name }: BodyViewProps) {
  const kind = detectBodyKind(bytes, contentType)
  const pretty = useMemo(() => prettyText(kind, bytes), [kind, bytes])
  const modes = modesOf(kind, pretty)
  const [chosen, setChosen] = useState<Mode>()
  const mode = chosen !== undefined && modes.includes(chosen) ? chosen : modes[0]
  if (mode === undefined) return <p className="note">The stored body is empty.</p>
  return (
    <div className="body">
      <div className="body-modes">
        <div role="radiogroup" aria-label="How to show the body">
          {modes.map((name) => (
            <label key={name}>
              <input type="radio" name="mode" checked={name === mode} onChange={() => setChosen(name)} />
              <span>{MODE_NAMES[name]}</span>
            </label>
          ))}
        </div>
        <button type="button" className="quiet" onClick={() => saveBytes(bytes, `${name}-body.bin`)}>
          Save
        </button>
      </div>
      {mode === 'pretty' && <TextView text={pretty ?? ''} />}
      {mode === 'raw' && <TextView text={decodeText(bytes)} />}
      {mode === 'hex' && <HexView bytes={bytes} />}
      {mode === 'image' && <ImageView bytes={bytes} />}
    </div>
  )
}

function prettyText(kind: BodyKind, bytes: Uint8Array): string | undefined {
  return kind === 'json' && bytes.length <= PRETTY_LIMIT_BYTES ? prettyJson(decodeText(bytes)) : undefined
}

function modesOf(kind: BodyKind, pretty: string | undefined): readonly Mode[] {
  switch (kind) {
    case 'empty':
      return []
    case 'json':
      return pretty === undefined ? ['raw', 'hex'] : ['pretty', 'raw', 'hex']
    case 'text':
      return ['raw', 'hex']
    case 'image':
      return ['image', 'hex']
    case 'binary':
      return ['hex', 'raw']
  }
}

function TextView({ text }: { text: string }) {
  const [limit, setLimit] = useState(TEXT_STEP_CHARS)
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls takes the focus for the keyboard */}
      <pre className="body-text" tabIndex={0}>
        {text.slice(0, limit)}
      </pre>
      {text.length > limit && (
        <MoreButton shown={limit} total={text.length} onMore={() => setLimit(limit + TEXT_STEP_CHARS)} />
      )}
    </>
  )
}

function HexView({ bytes }: { bytes: Uint8Array }) {
  const [limit, setLimit] = useState(HEX_STEP_BYTES)
  const lines = useMemo(() => hexLines(bytes, limit), [bytes, limit])
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls takes the focus for the keyboard */}
      <pre className="body-text is-hex" tabIndex={0}>
        {lines.map((line) => (
          <div key={line.offset}>
            <i>{line.offset}</i>
            {`  ${line.hex}  `}
            <b>{line.text}</b>
          </div>
        ))}
      </pre>
      {bytes.length > limit && (
        <MoreButton shown={limit} total={bytes.length} onMore={() => setLimit(limit + HEX_STEP_BYTES)} />
      )}
    </>
  )
}

function MoreButton({ shown, total, onMore }: { shown: number; total: number; onMore: () => void }) {
  return (
    <button type="button" className="more" onClick={onMore}>
      Show more: this is the first {formatBytes(shown)} of {formatBytes(total)}
    </button>
  )
}

const MAX_IMAGE_SIDE_PX = 2000

/** Decodes a raster image and draws its pixels; the bytes never become an address or markup. */
function ImageView({ bytes }: { bytes: Uint8Array<ArrayBuffer> }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const [caption, setCaption] = useState('Reading the image…')
  useEffect(() => {
    const type = sniffImageType(bytes) ?? ''
    const draw = async () => {
      const image = await createImageBitmap(new Blob([bytes], { type }))
      const scale = Math.min(1, MAX_IMAGE_SIDE_PX / Math.max(image.width, image.height))
      const target = canvas.current
      if (target !== null) {
        target.width = Math.max(1, Math.round(image.width * scale))
        target.height = Math.max(1, Math.round(image.height * scale))
        target.getContext('2d')?.drawImage(image, 0, 0, target.width, target.height)
      }
      setCaption(`${type}, ${image.width} × ${image.height} pixels`)
      image.close()
    }
    draw().catch((error: unknown) => setCaption(`This ${type} cannot be drawn: ${reasonOf(error)}`))
  }, [bytes])
  return (
    <figure className="body-image">
      <canvas ref={canvas} />
      <figcaption>{caption}</figcaption>
    </figure>
  )
}

/** Hands the bytes to the browser as a download of no particular type. */
function saveBytes(bytes: Uint8Array<ArrayBuffer>, fileName: string): void {
  const url = URL.createObjectURL(new Blob([bytes], { type: 'application/octet-stream' }))
  const link = document.createElement('a')
  link.href = url
  link.download = fileName
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
