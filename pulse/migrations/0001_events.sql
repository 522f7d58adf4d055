-- Events. One row an exchange, one row a part of a connection.
-- Partitions follow the day of receipt, so a wrong clock at an agent cannot break an insert.
-- (ingested_at, stream_id, seq, batch_index) is unique: ingested_at is one value a block, set by Pulse.
-- Rows come in under the cheapest codec, which merges rewrite; a day later parts are packed tighter.

CREATE TABLE IF NOT EXISTS {database}.requests (
  org LowCardinality(String),
  ts DateTime64(9, 'UTC') CODEC(Delta, Default),
  ingested_at DateTime64(6, 'UTC') CODEC(Delta, Default),
  event_id FixedString(16),
  connection_id FixedString(16),
  agent_id FixedString(16),
  agent_host LowCardinality(String),
  pid UInt32,
  process_start_ns UInt64,
  parent_pid UInt32,
  uid UInt32,
  user LowCardinality(String),
  comm LowCardinality(String),
  exe LowCardinality(String),
  container_id String,
  cgroup String,
  confidence Enum8('unspecified' = 0, 'unknown' = 1, 'inferred' = 2, 'exact' = 3),
  direction Enum8('unspecified' = 0, 'ingress' = 1, 'egress' = 2),
  local_address IPv6,
  local_port UInt16,
  remote_address IPv6,
  remote_port UInt16,
  protocol LowCardinality(String),
  tls_library LowCardinality(String),
  method LowCardinality(String),
  scheme LowCardinality(String),
  host LowCardinality(String),
  path String,
  query String,
  status UInt16 CODEC(T64, Default),
  first_byte_ns UInt64 CODEC(T64, Default),
  duration_ns UInt64 CODEC(T64, Default),
  request_bytes UInt64 CODEC(T64, Default),
  response_bytes UInt64 CODEC(T64, Default),
  request_body_bytes UInt64 CODEC(T64, Default),
  response_body_bytes UInt64 CODEC(T64, Default),
  request_content_type LowCardinality(String),
  response_content_type LowCardinality(String),
  user_agent String,
  completeness Enum8('unspecified' = 0, 'complete' = 1, 'gap' = 2, 'aborted' = 3),
  bytes_lost UInt64 CODEC(T64, Default),
  trace_id FixedString(16),
  span_id FixedString(8),
  index_in_connection UInt32,
  artifacts Array(Tuple(kind UInt8, sha256 FixedString(32), size UInt64, truncated Bool, content_type String, store String, key String)),
  stream_id FixedString(16),
  seq UInt64 CODEC(Delta, Default),
  batch_index UInt32 CODEC(Delta, Default),
  INDEX event_id_bloom event_id TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX connection_id_bloom connection_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY toDate(ingested_at)
ORDER BY (org, ts, event_id)
TTL toDateTime(ingested_at) + INTERVAL 1 DAY RECOMPRESS CODEC(ZSTD(1)), toDateTime(ingested_at) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS {database}.connections (
  org LowCardinality(String),
  ts DateTime64(9, 'UTC') CODEC(Delta, Default),
  ingested_at DateTime64(6, 'UTC') CODEC(Delta, Default),
  event_id FixedString(16),
  connection_id FixedString(16),
  agent_id FixedString(16),
  agent_host LowCardinality(String),
  pid UInt32,
  process_start_ns UInt64,
  parent_pid UInt32,
  uid UInt32,
  user LowCardinality(String),
  comm LowCardinality(String),
  exe LowCardinality(String),
  container_id String,
  cgroup String,
  confidence Enum8('unspecified' = 0, 'unknown' = 1, 'inferred' = 2, 'exact' = 3),
  direction Enum8('unspecified' = 0, 'ingress' = 1, 'egress' = 2),
  local_address IPv6,
  local_port UInt16,
  remote_address IPv6,
  remote_port UInt16,
  protocol LowCardinality(String),
  tls_library LowCardinality(String),
  part UInt32,
  finalized Bool,
  opened DateTime64(9, 'UTC') CODEC(Delta, Default),
  bytes_read UInt64 CODEC(T64, Default),
  bytes_written UInt64 CODEC(T64, Default),
  bytes_lost UInt64 CODEC(T64, Default),
  exchanges UInt32,
  stream_id FixedString(16),
  seq UInt64 CODEC(Delta, Default),
  batch_index UInt32 CODEC(Delta, Default),
  INDEX connection_id_bloom connection_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY toDate(ingested_at)
ORDER BY (org, ts, event_id)
TTL toDateTime(ingested_at) + INTERVAL 1 DAY RECOMPRESS CODEC(ZSTD(1)), toDateTime(ingested_at) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;
