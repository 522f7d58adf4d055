/** Fills a spool and says each number once it is written, until it is killed. Run by the test of the spool. */
import { writeSync } from 'node:fs'
import { EventBatch } from '../../../../gen/cleartap/pulse/v1/ingest.js'
import { Spool } from './spool.js'

const spool = new Spool({ directory: process.argv[2] ?? '', maxBytes: 1 << 30, segmentBytes: 65_536 })
const STDOUT = 1
for (;;) {
  const sequence = spool.append((number) =>
    EventBatch.fromPartial({
      sequence: BigInt(number),
      eventCount: 3,
      payload: Buffer.alloc(500, number % 251),
    }),
  )
  writeSync(STDOUT, `${sequence}\n`)
}
