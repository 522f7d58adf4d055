/**
 * The part of Node's Buffer that the generated messages call, over plain Uint8Arrays.
 * The messages are generated for Node; a browser has no Buffer.
 */
export const base64Buffer = {
  /** Bytes of base64 text (the standard alphabet), or a copy of the given bytes. Throws if the text is not base64. */
  from(source: string | ArrayLike<number>): Uint8Array {
    if (typeof source !== 'string') return Uint8Array.from(source)
    return Uint8Array.from(atob(source), (char) => char.charCodeAt(0))
  },

  /** Zero bytes. */
  alloc(length: number): Uint8Array {
    return new Uint8Array(length)
  },
}
