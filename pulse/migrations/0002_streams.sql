-- How far each agent's stream is stored. Written after the rows, before the acknowledgement.

CREATE TABLE IF NOT EXISTS {database}.ingest_batches (
  stream_id FixedString(16),
  epoch UInt64,
  seq UInt64,
  rows UInt32,
  rejected UInt32,
  lost UInt64,
  token FixedString(32),
  committed_at DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(committed_at)
ORDER BY (stream_id, seq)
TTL toDateTime(committed_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS {database}.ingest_holes (
  stream_id FixedString(16),
  first UInt64,
  last UInt64,
  reason Enum8('unspecified' = 0, 'unused_numbers' = 1, 'spool_full' = 2, 'spool_corrupt' = 3, 'queue_full' = 4),
  recorded_at DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree
ORDER BY (stream_id, first, last)
TTL toDateTime(recorded_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000;
