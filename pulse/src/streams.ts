/** Agents' streams: how far each is stored, what is on its way, and who may send. */
import type { Logger } from 'pino'
import { type ClickHouse, StatementError } from './clickhouse/client.js'
import { insertSettings } from './clickhouse/writer.js'
import type { SequenceHole } from '../../gen/cleartap/pulse/v1/ingest.js'
import type { BlockRows } from './tables/encode-batch.js'
import { ingestHoleColumns, writeIngestHole } from './tables/ingest-batches.js'
import { RowBuffer } from './tables/row-buffer.js'
