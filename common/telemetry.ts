/** The switches by which the OpenTelemetry specification says that a program exports. */
const switches = /^(OTEL_EXPORTER_OTLP_\w+|OTEL_TRACES_EXPORTER|OTEL_METRICS_EXPORTER)$/

/** Stops the exporters after a last flush. */
export type StopTelemetry = () => Promise<void>

/** Whether the environment asks for telemetry. */
export function telemetryRequested(env: NodeJS.ProcessEnv): boolean {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false
  return Object.entries(env).some(
    ([name, value]) => switches.test(name) && value !== undefined && value !== '',
  )
}

/**
 * Starts OpenTelemetry if env asks for it; otherwise the SDK is not even loaded. The SDK takes its own settings
 * from the process environment, as its specification says.
 */
export async function startTelemetry(service: string, env: NodeJS.ProcessEnv): Promise<StopTelemetry> {
  if (!telemetryRequested(env)) return async () => {}
  const { NodeSDK } = await import('@opentelemetry/sdk-node')
  const sdk = new NodeSDK({ serviceName: env['OTEL_SERVICE_NAME'] ?? `cleartap-${service}` })
  sdk.start()
  return () => sdk.shutdown()
}
