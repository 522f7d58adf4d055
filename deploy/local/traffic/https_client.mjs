/** One request by node:https: https_client.mjs METHOD URL CA_FILE BODY_FILE OUTPUT_FILE ("-" for no body). */
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { buffer } from 'node:stream/consumers'

const timeoutMs = 30_000
const [method, url, caFile, bodyFile, outputFile] = process.argv.slice(2)
const body = bodyFile === '-' ? undefined : await readFile(bodyFile)
const mediaType = bodyFile.endsWith('.json') ? 'application/json' : 'application/octet-stream'
const headers = body === undefined ? {} : { 'content-type': mediaType, 'content-length': body.length }
const call = request(url, {
  method,
  headers,
  ca: await readFile(caFile),
  agent: false,
  signal: AbortSignal.timeout(timeoutMs),
})
call.end(body)
const [response] = await once(call, 'response')
const received = await buffer(response)
if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
await writeFile(outputFile, received)
