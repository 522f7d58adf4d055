/** Gives the generated messages their Buffer. Must be loaded before any of them. */
import { base64Buffer } from '../../ui-model/base64-buffer.js'

declare global {
  interface Buffer extends Uint8Array<ArrayBuffer> {}
}

Object.defineProperty(globalThis, 'Buffer', { value: base64Buffer })
