/** Bytes as the classic three-column view. */

export interface HexLine {
  /** Eight hex digits. */
  readonly offset: string
  /** Sixteen places of two digits, a wider gap in the middle, padded with blanks. */
  readonly hex: string
  /** One character a byte; "." for what does not print in ASCII. */
  readonly text: string
}

const BYTES_PER_LINE = 16

/** The lines of bytes[0, maxBytes). */
export function hexLines(bytes: Uint8Array, maxBytes: number): readonly HexLine[] {
  const end = Math.min(bytes.length, maxBytes)
  const lines: HexLine[] = []
  for (let offset = 0; offset < end; offset += BYTES_PER_LINE) {
    lines.push(hexLine(bytes.subarray(offset, Math.min(end, offset + BYTES_PER_LINE)), offset))
  }
  return lines
}

function hexLine(bytes: Uint8Array, offset: number): HexLine {
  const digits = Array.from({ length: BYTES_PER_LINE }, (_, i) => {
    const byte = bytes[i]
    return byte === undefined ? '  ' : byte.toString(16).padStart(2, '0')
  })
  return {
    offset: offset.toString(16).padStart(8, '0'),
    hex: `${digits.slice(0, 8).join(' ')}  ${digits.slice(8).join(' ')}`,
    text: Array.from(bytes, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join(
      '',
    ),
  }
}
