/** Values of filters that are written as text: addresses, networks and ids. */
import { isIPv4, isIPv6 } from 'node:net'
import { addressFromText, addressText } from './tables/values.js'

/** Addresses first to last, IPv4 as IPv4-mapped. */
export interface Range {
  readonly firstText: string
  readonly lastText: string
  /** 4 or 16 bytes, or none, which counts as "::". */
  has(address: Uint8Array): boolean
}

/** The range of an address, or of a network ("10.0.0.0/8"); undefined if the text is neither. */
export function addressRange(text: string, isNetwork: boolean): Range | undefined {
  const [host = '', length, extra] = text.split('/')
  const version = isIPv4(host) ? 4 : isIPv6(host) && !host.includes('%') ? 6 : 0
  if (version === 0 || extra !== undefined || (!isNetwork && length !== undefined)) return undefined
  const width = version === 4 ? 32 : 128
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return undefined
  const prefix = length === undefined ? width : Number(length)
  if (prefix > width) return undefined
  const bytes = mapped(version === 4 ? Buffer.from(host.split('.').map(Number)) : addressFromText(host))
  return maskedRange(bytes, prefix + 128 - width)
}

function maskedRange(bytes: Buffer, prefix: number): Range {
  const first = Buffer.from(bytes)
  const last = Buffer.from(bytes)
  for (let bit = prefix; bit < 128; bit += 1) {
    const mask = 0x80 >> (bit & 7)
    const at = bit >> 3
    first[at] = (first[at] ?? 0) & ~mask
    last[at] = (last[at] ?? 0) | mask
  }
  return {
    firstText: addressText(first),
    lastText: addressText(last),
    has(address) {
      const wanted = mapped(address)
      return wanted.compare(first) >= 0 && wanted.compare(last) <= 0
    },
  }
}

/** 16 bytes; none become zeros. */
function mapped(address: Uint8Array): Buffer {
  if (address.length === 16) return Buffer.from(address)
  if (address.length !== 4) return Buffer.alloc(16)
  return Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), address])
}

/** Bytes from hex digits, with or without the dashes of a UUID; undefined if the size differs. */
export function idBytes(text: string, size: number): Buffer | undefined {
  const hex = text.replaceAll('-', '')
  return new RegExp(`^[0-9a-fA-F]{${size * 2}}$`).test(hex) ? Buffer.from(hex, 'hex') : undefined
}
