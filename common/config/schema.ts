/**
 * The whole configuration, once: type, default, documentation, validation, JSON Schema.
 * Keys are snake_case as in the file; sizes are bytes, times milliseconds, unless the key says otherwise.
 */
import { z } from 'zod'

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

/** HOST:PORT or [IPV6]:PORT with a port of at most 65535. */
const ADDRESS =
  /^(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])$/

const serviceAddress = z.string().regex(ADDRESS, 'expected HOST:PORT, such as 127.0.0.1:7400')

/** Port 0 lets the system choose. */
const listenAddress = (port: number) => serviceAddress.default(`127.0.0.1:${port}`)

/** A secret by reference: it never stands in the file itself. */
export const secretReference = z
  .union([
    z.strictObject({ env: z.string().min(1).describe('Name of an environment variable.') }),
    z.strictObject({ file: z.string().min(1).describe('Path of a file; one trailing newline is dropped.') }),
  ])
  .describe('Where a secret is read from: {env: NAME} or {file: PATH}.')

const log = z
  .strictObject({
    level: z
      .enum(['debug', 'info', 'warn', 'error'])
      .default('info')
      .describe('Least severity that is written.'),
    format: z.enum(['json', 'text']).default('json').describe('One JSON object a line, or text for people.'),
  })
  .prefault({})
  .describe('Log lines on standard error. Never hold payload.')

const admin = (port: number) =>
  z
    .strictObject({
      listen: listenAddress(port).describe('Address of /metrics, /healthz and /readyz.'),
    })
    .prefault({})
    .describe('HTTP endpoints for operations.')

const s3Access = {
  endpoint: z.url().optional().describe('URL of the S3 API; absent for AWS itself.'),
  bucket: z.string().min(3).max(63).describe('Name of the bucket.'),
  region: z.string().default('us-east-1').describe('Region, as it enters signatures.'),
  force_path_style: z.boolean().default(true).describe('Bucket in the path instead of the host name.'),
  access_key_id: secretReference.optional().describe('Absent: the AWS SDK looks in its own places.'),
  secret_access_key: secretReference.optional().describe('Absent: the AWS SDK looks in its own places.'),
}

/** What the agent captures. The part of the configuration that the control plane may replace. */
export const captureSchema = z
  .strictObject({
    level: z
      .enum(['metadata', 'headers', 'full'])
      .default('full')
      .describe('metadata: events only. headers: header objects too. full: bodies too.'),
    max_body_bytes: z
      .int()
      .min(0)
      .max(GIB)
      .default(8 * MIB)
      .describe('Longer bodies are stored cut, marked so.'),
    ignore: z
      .strictObject({
        exe: z
          .array(z.string().min(1))
          .max(1000)
          .default([])
          .describe('Processes whose executable path equals an entry, or lies below one that ends in "/".'),
        comm: z
          .array(z.string().min(1).max(15))
          .max(1000)
          .default([])
          .describe('Processes of this short name.'),
      })
      .prefault({})
      .describe('Processes that are left alone.'),
  })
  .prefault({})
  .describe('What is captured.')

const spool = z
  .strictObject({
    max_bytes: z
      .int()
      .min(MIB)
      .default(GIB)
      .describe('When reached, the oldest segment is dropped and counted.'),
    segment_bytes: z
      .int()
      .min(64 * KIB)
      .default(8 * MIB)
      .describe('Size at which a new segment file begins.'),
  })
  .prefault({})
  .describe('Events on disk that Pulse has not acknowledged yet.')

const batching = {
  max_batch_events: z.int().min(1).max(10_000).default(1000).describe('Events that close a batch.'),
  flush_interval_ms: z.int().min(1).max(60_000).default(200).describe('Age that closes a batch.'),
  max_queue_events: z
    .int()
    .min(1)
    .default(100_000)
    .describe('Events in memory before the spool; more are dropped and counted.'),
}

export const sinkSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('pulse'),
    address: serviceAddress.default('127.0.0.1:7400').describe('gRPC address of Pulse.'),
    ...batching,
    spool,
  }),
  z.strictObject({
    type: z.literal('stdout'),
    format: z.enum(['text', 'json']).default('json').describe('A line an event.'),
  }),
])

export const storeSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('s3'),
    name: z.string().min(1).default('default').describe('Name that events carry.'),
    ...s3Access,
    max_concurrent_uploads: z.int().min(1).max(256).default(16).describe('PUT requests at one time.'),
    max_queue_bytes: z
      .int()
      .min(MIB)
      .default(128 * MIB)
      .describe('Bytes waiting; more are dropped and counted.'),
    max_queue_age_ms: z
      .int()
      .min(1)
      .max(600_000)
      .default(5000)
      .describe(
        'Wait of the oldest object above which new bodies are dropped and counted; at twice it, header objects too, and events go out without waiting longer.',
      ),
  }),
  z.strictObject({
    type: z.literal('directory'),
    name: z.string().min(1).default('default').describe('Name that events carry.'),
    path: z.string().min(1).describe('Objects lie below it under their keys.'),
  }),
  z.strictObject({
    type: z.literal('stdout'),
    name: z.string().min(1).default('default').describe('Name that events carry.'),
  }),
])

export const agentConfigSchema = z.strictObject({
  data_dir: z
    .string()
    .min(1)
    .default('/var/lib/cleartap/agent')
    .describe('Identity, spool and last good configuration.'),
  org: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected lower-case letters, digits and "-"')
    .default('default')
    .describe('Organisation; the first part of object keys.'),
  log,
  admin: admin(7401),
  capture: captureSchema,
  ring_bytes: z
    .int()
    .min(64 * KIB)
    .max(GIB)
    .refine((bytes) => Number.isInteger(Math.log2(bytes)), 'expected a power of two, such as 16777216')
    .default(16 * MIB)
    .describe('Ring buffer for plaintext; a power of two.'),
  max_connections: z
    .int()
    .min(1)
    .default(65_536)
    .describe('Streams followed at one time; the idlest goes first.'),
  max_buffered_bytes: z
    .int()
    .min(MIB)
    .default(256 * MIB)
    .describe('Bytes of unfinished exchanges held in memory.'),
  sinks: z.array(sinkSchema).max(1).default([]).describe('Where events go.'),
  stores: z.array(storeSchema).max(1).default([]).describe('Where headers and bodies go.'),
  control_plane: z
    .strictObject({ address: serviceAddress.describe('gRPC address of the control plane.') })
    .optional()
    .describe('Absent: the file alone decides.'),
})

export const pulseConfigSchema = z.strictObject({
  data_dir: z
    .string()
    .min(1)
    .default('/var/lib/cleartap/pulse')
    .describe('Where the embedded ClickHouse keeps its data.'),
  org: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected lower-case letters, digits and "-"')
    .default('default')
    .describe('Organisation that events are stored under.'),
  log,
  listen: listenAddress(7400).describe('gRPC address: ingest, query, reflection, health.'),
  admin: admin(7402),
  clickhouse: z
    .strictObject({
      url: z.url().describe('HTTP interface of a ClickHouse server.'),
      database: z
        .string()
        .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/)
        .default('cleartap')
        .describe('Made if absent.'),
      username: z.string().default('default').describe('User name.'),
      password: secretReference.optional(),
    })
    .optional()
    .describe('Absent: Pulse starts its own engine (chDB) in a child process.'),
  ingest: z
    .strictObject({
      max_block_rows: z.int().min(1).max(1_000_000).default(20_000).describe('Rows that seal a block.'),
      max_block_bytes: z
        .int()
        .min(KIB)
        .default(8 * MIB)
        .describe('Bytes that seal a block.'),
      max_block_age_ms: z.int().min(1).max(60_000).default(200).describe('Age that seals a block.'),
      max_batch_bytes: z
        .int()
        .min(KIB)
        .default(4 * MIB)
        .describe('Largest payload of a batch as sent.'),
      max_inflated_bytes: z
        .int()
        .min(KIB)
        .default(16 * MIB)
        .describe('Largest payload of a batch inflated.'),
      max_inflight_batches: z.int().min(1).max(1000).default(48).describe('Credit of one stream.'),
    })
    .prefault({})
    .describe('Limits of the ingest service.'),
})

export const controlplaneConfigSchema = z.strictObject({
  data_dir: z.string().min(1).default('/var/lib/cleartap/controlplane').describe('Where the database lies.'),
  log,
  listen: listenAddress(7410).describe('gRPC address for agents.'),
  http: z
    .strictObject({ listen: listenAddress(7411).describe('REST and the web page.') })
    .prefault({})
    .describe('The HTTP server for people.'),
  admin: admin(7412),
  pulse: z
    .strictObject({ address: serviceAddress.default('127.0.0.1:7400').describe('gRPC address of Pulse.') })
    .prefault({})
    .describe('Where events are read from.'),
  stores: z
    .array(
      z.strictObject({
        name: z.string().min(1).default('default').describe('As in the agents’ stores.'),
        ...s3Access,
        public_endpoint: z
          .url()
          .optional()
          .describe('The endpoint as the browser reaches it; absent: the same.'),
      }),
    )
    .default([])
    .describe('Buckets that downloads may be signed for.'),
  heartbeat_interval_ms: z.int().min(100).max(600_000).default(10_000).describe('How often agents report.'),
  reconnect_min_ms: z
    .int()
    .min(10)
    .max(600_000)
    .default(1000)
    .describe('Least time before an agent connects again.'),
  reconnect_max_ms: z.int().min(10).max(3_600_000).default(60_000).describe('Longest time before it does.'),
})

export type SecretReference = z.output<typeof secretReference>
export type CaptureConfig = z.output<typeof captureSchema>
export type SinkConfig = z.output<typeof sinkSchema>
export type StoreConfig = z.output<typeof storeSchema>
export type AgentConfig = z.output<typeof agentConfigSchema>
export type PulseConfig = z.output<typeof pulseConfigSchema>
export type ControlplaneConfig = z.output<typeof controlplaneConfigSchema>
