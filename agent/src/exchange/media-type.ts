/** Media types as far as they may be shown: type and subtype, without parameters. */
import type { HttpMessage } from './exchange.js'
import { headerOf } from './url.js'

const MEDIA_TYPE = /^[a-z0-9!#$&^_.+-]{1,64}\/[a-z0-9!#$&^_.+-]{1,64}$/

/** Lower case; empty if there is no Content-Type or it is not one. */
export function mediaTypeOf(message: HttpMessage): string {
  const value = headerOf(message.headers, 'content-type')
  if (value === undefined) return ''
  const semicolonAt = value.indexOf(';')
  const type = (semicolonAt === -1 ? value : value.slice(0, semicolonAt)).trim().toLowerCase()
  return MEDIA_TYPE.test(type) ? type : ''
}
