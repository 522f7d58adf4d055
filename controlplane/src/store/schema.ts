/**
 * Tables of the control database, as Kysely sees them. Portable between SQLite and PostgreSQL: ids are text,
 * times integer milliseconds since the Unix epoch, flags 0 or 1, structured values JSON text.
 */

export interface AgentsTable {
  /** UUID in its text form. */
  id: string
  host: string
  agent_version: string
  kernel: string
  architecture: string
  boot_id: string
  labels: string
  connected: number
  session_id: string
  first_seen_ms: number
  last_seen_ms: number
  health: string
  running_version: number
  running_sha256: string
  last_good_version: number
  last_good_sha256: string
  /** JSON of the latest attempt, or empty. */
  last_attempt: string
  /** Highest version that the agent refused and that nobody asked to retry; 0: none. */
  rejected_version: number
  /** Version that a person asked to offer again; 0: none. */
  retry_version: number
  /** JSON of the last heartbeat's totals, or empty. */
  capture_stats: string
  ingest_stats: string
}

export interface RevisionsTable {
  resource: string
  /** Rises by at least one. */
  version: number
  content: string
  sha256: string
  author: string
  note: string
  created_at_ms: number
}

export interface AttemptsTable {
  /** UUIDv7: sorts by time. */
  id: string
  agent_id: string
  resource: string
  version: number
  nonce: string
  outcome: string
  /** JSON array of what was wrong. */
  errors: string
  at_ms: number
}

export interface IdempotencyKeysTable {
  key: string
  request_sha256: string
  /** Version of the revision that the first call made. */
  version: number
  created_at_ms: number
}

export interface ControlTables {
  agents: AgentsTable
  revisions: RevisionsTable
  attempts: AttemptsTable
  idempotency_keys: IdempotencyKeysTable
}
