/**
 * Puts objects into a store and says what became of them. Run by the end-to-end suite of the agent's stores.
 *
 * Standard input: {"store": a StoreConfig, "secrets": {name: value}, "sizes": [bytes, …], "contentType": …}.
 * Standard output: {"results": ["stored" or the reason, …], "keys": […], "stats": …}. Contents follow from the
 * size: byte i is i % 251.
 */
import { createHash } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { z } from 'zod'
import { storeSchema } from '../../../common/config/schema.js'
import { createStore } from './index.js'

const orderSchema = z.strictObject({
  store: storeSchema,
  secrets: z.record(z.string(), z.string()),
  sizes: z.array(z.int().min(0)),
  contentType: z.string(),
})

const order = orderSchema.parse(JSON.parse(await text(process.stdin)))
const { store, stats } = createStore(order.store, {
  secretOf: (reference) => ('env' in reference ? (order.secrets[reference.env] ?? '') : ''),
  output: process.stdout,
})
const puts = order.sizes.map(async (size) => {
  const bytes = Uint8Array.from({ length: size }, (_, index) => index % 251)
  const sha256 = createHash('sha256').update(bytes).digest()
  const object = { key: `v1/default/2026/01/02/${sha256.toString('hex')}`, sha256, size }
  const middle = size >> 1
  const result = await store
    .put(object, order.contentType, [bytes.subarray(0, middle), bytes.subarray(middle)])
    .then(
      (outcome): string => outcome,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    )
  return { key: object.key, result }
})
const outcomes = await Promise.all(puts)
await store.close(60_000)
const results = outcomes.map(({ result }) => result)
const keys = outcomes.map(({ key }) => key)
process.stdout.write(`${JSON.stringify({ results, keys, stats: stats() })}\n`)
