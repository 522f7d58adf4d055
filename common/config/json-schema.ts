import { z } from 'zod'
import { agentConfigSchema, controlplaneConfigSchema, pulseConfigSchema } from './schema.js'

/** The services with a configuration file, each with its schema. */
export const configSchemas = {
  agent: agentConfigSchema,
  pulse: pulseConfigSchema,
  controlplane: controlplaneConfigSchema,
} as const

export type ConfiguredService = keyof typeof configSchemas

/** JSON Schema (draft 2020-12) of a service's configuration file, for editors. */
export function configJsonSchema(service: ConfiguredService): z.core.JSONSchema.BaseSchema {
  const schema = z.toJSONSchema(configSchemas[service], { io: 'input' })
  return { title: `Cleartap ${service} configuration`, ...schema }
}
