/** Agents' messages to the store's terms. Agents are not trusted: everything is checked or cut to size. */
import { UUID } from 'uuidv7'
import type {
  ConfigAttempt,
  ConfigPush,
  ConfigRef,
  ConfigStatus,
  Heartbeat,
  Hello,
  ResourceError,
} from '../../../gen/cleartap/controlplane/v1/config.js'
import {
  CaptureStats,
  ConfigState,
  HealthState,
  IngestStats,
} from '../../../gen/cleartap/controlplane/v1/config.js'
import type {
  Agent,
  AgentHeartbeat,
  AgentHello,
  AgentResult,
  Counters,
  LastAttempt,
  VersionRef,
} from '../store/agents.js'
import type { DocumentError } from '../store/attempts.js'
import type { Offer } from './offers.js'

const maxTextLength = 1024
const maxLabels = 64
const maxErrors = 100

/** A message that breaks the contract. `field` is its place in proto JSON spelling. */
export class InvalidMessageError extends Error {
  readonly field: string

  constructor(field: string, message: string) {
    super(message)
    this.name = 'InvalidMessageError'
    this.field = field
  }
}

/** @throws InvalidMessageError unless the bytes are a UUIDv7. */
export function parseAgentId(bytes: Uint8Array): string {
  if (bytes.length !== 16) {
    throw new InvalidMessageError('agentId', `agent_id has ${bytes.length} bytes; expected a UUIDv7 of 16`)
  }
  const uuid = UUID.ofInner(Uint8Array.from(bytes))
  if (uuid.getVersion() !== 7) {
    throw new InvalidMessageError('agentId', `agent_id is ${uuid}, not a UUID of version 7`)
  }
  return uuid.toString()
}

export function parseHello(hello: Hello, nowMs: number): AgentHello {
  return {
    id: parseAgentId(hello.agentId),
    host: cut(hello.platform?.host ?? ''),
    version: cut(hello.version),
    kernel: cut(hello.platform?.kernel ?? ''),
    architecture: cut(hello.platform?.architecture ?? ''),
    bootId: cut(hello.bootId),
    labels: parseLabels(hello.labels),
    running: parseRef(hello.running, 'running') ?? { version: 0, sha256: '' },
    lastGood: parseRef(hello.lastKnownGood, 'lastKnownGood') ?? { version: 0, sha256: '' },
    lastAttempt: hello.lastAttempt && parseAttempt(hello.lastAttempt, nowMs),
  }
}

export function parseHeartbeat(heartbeat: Heartbeat): AgentHeartbeat {
  return {
    running: parseRef(heartbeat.running, 'running'),
    health: parseHealth(heartbeat.health),
    capture: heartbeat.capture && (CaptureStats.toJSON(heartbeat.capture) as Counters),
    ingest: heartbeat.ingest && (IngestStats.toJSON(heartbeat.ingest) as Counters),
  }
}

/** Whether the status ends the offer, and how. Errors mean refusal whatever the state says. */
export function parseVerdict(status: ConfigStatus): 'applied' | 'refused' | 'under_way' {
  if (status.errors.length > 0) return 'refused'
  switch (status.state) {
    case ConfigState.CONFIG_STATE_RECEIVED:
    case ConfigState.CONFIG_STATE_APPLYING:
      return 'under_way'
    case ConfigState.CONFIG_STATE_APPLIED:
      return 'applied'
    default:
      return 'refused'
  }
}

export function parseResult(
  status: ConfigStatus,
  offer: Offer,
  refused: boolean,
  nowMs: number,
): AgentResult {
  const { version, sha256 } = offer.revision
  return {
    running: parseRef(status.running, 'running'),
    lastGood: parseRef(status.lastKnownGood, 'lastKnownGood'),
    attempt: {
      version,
      sha256,
      state: refused ? failureState(status.state) : 'applied',
      errors: parseErrors(status.errors),
      atMs: nowMs,
      tries: 1,
    },
  }
}

export function parseErrors(errors: readonly ResourceError[]): DocumentError[] {
  return errors.slice(0, maxErrors).map((error) => ({
    path: cut(error.path),
    code: cut(error.code),
    message: cut(error.message),
    line: error.line,
    column: error.column,
  }))
}

export function parseRef(ref: ConfigRef | undefined, field: string): VersionRef | undefined {
  if (ref === undefined) return undefined
  if (ref.version > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new InvalidMessageError(`${field}.version`, `version ${ref.version} is above 2^53 - 1`)
  }
  if (ref.sha256.length !== 0 && ref.sha256.length !== 32) {
    throw new InvalidMessageError(
      `${field}.sha256`,
      `sha256 has ${ref.sha256.length} bytes; expected 32 or none`,
    )
  }
  return { version: Number(ref.version), sha256: ref.sha256.toString('hex') }
}

/** The push message of an offer. */
export function toPush(offer: Offer): ConfigPush {
  const { resource, version, sha256, content } = offer.revision
  return {
    nonce: offer.nonce,
    config: { resource, version: BigInt(version), sha256: Buffer.from(sha256, 'hex') },
    content: Buffer.from(content, 'utf8'),
    mediaType: 'application/yaml',
  }
}

function parseAttempt(attempt: ConfigAttempt, nowMs: number): LastAttempt | undefined {
  const ref = parseRef(attempt.config, 'lastAttempt.config')
  if (ref === undefined) return undefined
  const message = cut(attempt.error?.message ?? '')
  return {
    ...ref,
    state: stateNames.get(attempt.state) ?? 'unknown',
    errors: message === '' ? [] : [{ path: '', code: 'EARLIER_ATTEMPT', message, line: 0, column: 0 }],
    atMs:
      attempt.at === undefined
        ? nowMs
        : Number(attempt.at.seconds) * 1000 + Math.floor(attempt.at.nanos / 1e6),
    tries: attempt.tries,
  }
}

const stateNames: ReadonlyMap<ConfigState, LastAttempt['state']> = new Map([
  [ConfigState.CONFIG_STATE_RECEIVED, 'received'],
  [ConfigState.CONFIG_STATE_APPLYING, 'applying'],
  [ConfigState.CONFIG_STATE_APPLIED, 'applied'],
  [ConfigState.CONFIG_STATE_REJECTED, 'rejected'],
  [ConfigState.CONFIG_STATE_ROLLED_BACK, 'rolled_back'],
])

function failureState(state: ConfigState): LastAttempt['state'] {
  return state === ConfigState.CONFIG_STATE_ROLLED_BACK ? 'rolled_back' : 'rejected'
}

function parseHealth(health: HealthState): Agent['health'] {
  switch (health) {
    case HealthState.HEALTH_STATE_HEALTHY:
      return 'healthy'
    case HealthState.HEALTH_STATE_DEGRADED:
      return 'degraded'
    default:
      return 'unknown'
  }
}

function parseLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(labels)
  if (entries.length > maxLabels) {
    throw new InvalidMessageError('labels', `${entries.length} labels; at most ${maxLabels} are accepted`)
  }
  return Object.fromEntries(entries.map(([name, value]) => [cut(name), cut(value)]))
}

function cut(text: string): string {
  return text.slice(0, maxTextLength)
}
