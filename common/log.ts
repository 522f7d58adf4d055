import { pino } from 'pino'

export type Logger = pino.Logger

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface LogOptions {
  readonly level: LogLevel
  /** One JSON object a line, or text for people. */
  readonly format: 'json' | 'text'
  /** Where lines go, each with its newline; standard error if absent. */
  readonly destination?: { write(line: string): void }
}

const maxDepth = 6
/** For the fields of child loggers, which formatters do not see. */
const childSecretKeys = [
  'authorization',
  'cookie',
  'password',
  'secret',
  'token',
  'secret_access_key',
  'access_key_id',
]
const secretKey =
  /^(authorization|proxy-authorization|cookie|set-cookie|password|passwd|secret|token|api[-_]?key|private[-_]?key|(aws[-_]?)?(secret[-_]?)?access[-_]?key([-_]?id)?|session[-_]?token|signature|x-amz-(signature|credential|security-token))$/i

/**
 * A logger for one component of one service. Lines hold level (by name), ts (ISO 8601, UTC), component, the
 * given fields and msg. Values under secret names and all byte arrays are replaced: payload is never logged.
 */
export function createLogger(component: string, options: LogOptions): Logger {
  const raw = options.destination ?? pino.destination({ dest: 2, sync: true })
  const destination = options.format === 'text' ? textDestination(raw) : raw
  return pino(
    {
      level: options.level,
      base: { component },
      messageKey: 'msg',
      errorKey: 'error',
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      redact: { paths: childSecretKeys, censor: '[redacted]' },
      formatters: {
        level: (label) => ({ level: label }),
        bindings: redact,
        log: redact,
      },
    },
    destination,
  )
}

function redact(fields: Record<string, unknown>): Record<string, unknown> {
  return redactObject(fields, 0)
}

function redactObject(fields: object, depth: number): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(fields)) {
    out[key] = secretKey.test(key) ? '[redacted]' : redactValue(value, depth + 1)
  }
  return out
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object' || value === null || value instanceof Error) return value
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (depth >= maxDepth) return '[too deep]'
  if (Array.isArray(value)) return value.map((item) => redactValue(item, depth + 1))
  if (value instanceof Date || value instanceof URL) return String(value)
  return redactObject(value, depth)
}

function textDestination(raw: { write(line: string): void }): { write(line: string): void } {
  return { write: (line) => raw.write(`${toText(line)}\n`) }
}

function toText(line: string): string {
  const { level, ts, component, msg, ...fields } = JSON.parse(line) as Record<string, unknown>
  const time = String(ts).slice(11, 23)
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${fieldText(value)}`)
  return `${time} ${String(level).toUpperCase().padEnd(5)} ${String(component)}: ${String(msg ?? '')}${rest.join('')}`
}

function fieldText(value: unknown): string {
  if (typeof value === 'string' && /^[\w./:@+-]+$/.test(value)) return value
  if (typeof value === 'object' && value !== null && 'message' in value) return JSON.stringify(value.message)
  return JSON.stringify(value)
}
