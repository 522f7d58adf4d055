import { closeSync, openSync, readSync } from 'node:fs'

/** The file's text, UTF-8; undefined if it is longer than maxBytes. Throws what opening or reading it throws. */
export function readTextFile(file: string, maxBytes: number): string | undefined {
  const buffer = Buffer.alloc(maxBytes + 1)
  let length = 0
  const fd = openSync(file, 'r')
  try {
    let read = -1
    while (read !== 0 && length < buffer.length) {
      read = readSync(fd, buffer, length, buffer.length - length, null)
      length += read
    }
  } finally {
    closeSync(fd)
  }
  return length > maxBytes ? undefined : buffer.toString('utf8', 0, length)
}
