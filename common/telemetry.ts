/** OpenTelemetry as its own specification switches it on: by OTEL_* in the environment, and off without. */
import { type DiagLogger, DiagLogLevel, diag } from '@opentelemetry/api'
import type { Registry } from 'prom-client'
import type { Logger } from './log.js'
import { exportRegistry } from './telemetry-metrics.js'

/** The switches by which the OpenTelemetry specification says that a program exports. */
const switches = /^(OTEL_EXPORTER_OTLP_\w+|OTEL_TRACES_EXPORTER|OTEL_METRICS_EXPORTER)$/

/** How long the last flush may hold up the end of a service whose collector does not answer. */
const flushMs = 3_000
const exitGraceMs = 500

export interface Telemetry {
  /** Exports what a registry holds; call it once, when all metrics are registered. */
  exportMetrics(registry: Registry): Promise<void>
  /** The last step of a service: flushes for 3 s at most; if that was too short, the process ends soon after. Never rejects. */
  stop(): Promise<void>
}

const off: Telemetry = { async exportMetrics() {}, async stop() {} }

/** Whether the environment asks for telemetry. */
export function telemetryRequested(env: NodeJS.ProcessEnv): boolean {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false
  return Object.entries(env).some(
    ([name, value]) => switches.test(name) && value !== undefined && value !== '',
  )
}

/**
 * Starts OpenTelemetry if env asks for it; otherwise the SDK is not even loaded. The SDK takes its own settings
 * from the process environment, as its specification says. The resource names service and instance and what
 * OTEL_RESOURCE_ATTRIBUTES adds: host, command line and user stay unsaid.
 */
export async function startTelemetry(
  service: string,
  env: NodeJS.ProcessEnv,
  logger: Logger,
): Promise<Telemetry> {
  if (!telemetryRequested(env)) return off
  const { NodeSDK } = await import('@opentelemetry/sdk-node')
  const { envDetector, serviceInstanceIdDetector } = await import('@opentelemetry/resources')
  const sdk = new NodeSDK({
    serviceName: env['OTEL_SERVICE_NAME'] ?? `cleartap-${service}`,
    resourceDetectors: [serviceInstanceIdDetector, envDetector],
    logRecordProcessors: [],
  })
  // After the SDK was made: OTEL_LOG_LEVEL would have it print lines of its own form on standard output.
  diag.setLogger(sdkLogger(logger), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
  sdk.start()
  return {
    exportMetrics: exportRegistry,
    stop: () => stopWithin(sdk.shutdown(), logger),
  }
}

async function stopWithin(shutdown: Promise<void>, logger: Logger): Promise<void> {
  const late = Promise.withResolvers<'late'>()
  const timer = setTimeout(() => late.resolve('late'), flushMs)
  try {
    const outcome = await Promise.race([shutdown, late.promise])
    if (outcome === 'late') {
      logger.warn({ ms: flushMs }, 'telemetry was not flushed in time')
      exitSoon()
    }
  } catch (error) {
    logger.warn({ reason: messageOf(error) }, 'telemetry was not flushed')
  } finally {
    clearTimeout(timer)
  }
}

/**
 * The SDK goes on trying for ten seconds and cannot be told to stop. Telemetry is the last thing that a service
 * stops, so nothing but these attempts is cut off; whatever else keeps the process has this long to end.
 */
function exitSoon(): void {
  setTimeout(() => process.exit(), exitGraceMs).unref()
}

/** What the SDK has to say. A collector that is down fails every export: that is said once. */
export function sdkLogger(logger: Logger): DiagLogger {
  const told = new Set<string>()
  const tell = (kind: 'error' | 'warn', message: string) => {
    const key = kind === 'error' ? kind : message
    if (told.has(key) || told.size >= maxMessages) return
    told.add(key)
    if (kind === 'warn') logger.warn({ reason: message }, 'telemetry')
    else logger.warn({ reason: reasonOf(message) }, 'telemetry is not exported; this is said once')
  }
  const silent = () => {}
  return {
    error: (message) => tell('error', message),
    warn: (message) => tell('warn', message),
    info: silent,
    debug: silent,
    verbose: silent,
  }
}

const maxMessages = 20

/** The SDK puts an error with its stack into JSON. */
function reasonOf(text: string): string {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return text
    const { message, code } = value as { message?: unknown; code?: unknown }
    return [message, code].filter((part) => typeof part === 'string' && part !== '').join(' ') || text
  } catch {
    return text
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
