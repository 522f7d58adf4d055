/** Event sinks by their configuration. A new one is a file, its variant in the schema, and its case here. */
import type { Writable } from 'node:stream'
import type { Logger } from 'pino'
import type { SinkConfig } from '../../../common/config/schema.js'
import type { AgentIdentity } from './pulse/session.js'
import { PulseSink, type PulseSinkStats } from './pulse/sink.js'
import { StdoutSink, type StdoutSinkStats } from './stdout.js'

export { MemorySink } from './memory.js'
export type { AgentIdentity } from './pulse/session.js'
export { PulseSink, type PulseSinkStats } from './pulse/sink.js'
export type { EventRecord, EventSink } from './sink.js'
export { StdoutSink, type StdoutSinkStats } from './stdout.js'

export interface SinkDependencies {
  readonly identity: AgentIdentity
  /** Where a Pulse sink spools; one directory for one agent. */
  readonly spoolDirectory: string
  readonly output: Writable
  /** Only for text on output; the caller knows whether it is a terminal and wants it. */
  readonly colour: boolean
  readonly log: Logger
}

/** A sink with its counters. */
export type ConfiguredSink =
  | { readonly type: 'pulse'; readonly sink: PulseSink; stats(): PulseSinkStats }
  | { readonly type: 'stdout'; readonly sink: StdoutSink; stats(): StdoutSinkStats }

/** Throws if a Pulse sink's spool directory cannot be used. */
export function createSink(config: SinkConfig, dependencies: SinkDependencies): ConfiguredSink {
  switch (config.type) {
    case 'pulse': {
      const { identity, spoolDirectory, log } = dependencies
      const sink = new PulseSink(config, { identity, directory: spoolDirectory, log })
      return { type: 'pulse', sink, stats: () => sink.stats() }
    }
    case 'stdout': {
      const { output, colour } = dependencies
      const sink = new StdoutSink({ format: config.format, output, colour })
      return { type: 'stdout', sink, stats: () => sink.stats() }
    }
  }
}
