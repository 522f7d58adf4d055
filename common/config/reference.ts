/** docs/configuration.md, made from the schemas. */
import type { z } from 'zod'
import { type ConfiguredService, configJsonSchema } from './json-schema.js'

type Schema = z.core.JSONSchema.BaseSchema

interface Row {
  readonly key: string
  readonly type: string
  readonly fallback: string
  readonly description: string
}

const introduction = `# Configuration

Every service takes one YAML file: \`cleartap agent --config FILE\`, and so on. Every key has a default unless the
table says *required*. Unknown keys are refused, with their place and a suggestion. Secrets never stand in the
file: it names an environment variable or a file. Editors complete and check keys when the first line is

\`\`\`yaml
# yaml-language-server: $schema=schema/agent.schema.json
\`\`\`

This page is made by \`node dist/common/config/write-docs.js\` from \`common/config/schema.ts\`.
`

const titles: Readonly<Record<ConfiguredService, string>> = {
  agent: 'Agent',
  pulse: 'Pulse',
  controlplane: 'Control plane',
}

/** The whole page. */
export function configReference(): string {
  const sections = (Object.keys(titles) as ConfiguredService[]).map(
    (service) => `## ${titles[service]}\n\n${table(rowsOf(configJsonSchema(service), '', false))}\n`,
  )
  return [introduction, ...sections].join('\n')
}

function rowsOf(schema: Schema, prefix: string, inVariant: boolean): Row[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    if (typeof property === 'boolean') return []
    const isTag = inVariant && name === 'type'
    return isTag ? [] : rowsOfProperty(schema, prefix + name, name, property)
  })
}

function rowsOfProperty(parent: Schema, key: string, name: string, property: Schema): Row[] {
  const required = parent.required?.includes(name) === true && property.default === undefined
  const row = { key, type: typeText(property), fallback: fallbackText(property, required) }
  return [{ ...row, description: property.description ?? '' }, ...nestedRows(key, property)]
}

function nestedRows(key: string, property: Schema): Row[] {
  if (property.properties !== undefined) return rowsOf(property, `${key}.`, false)
  const items = property.items
  if (typeof items !== 'object' || Array.isArray(items)) return []
  const element = items as Schema
  if (element.oneOf !== undefined) {
    return (element.oneOf as Schema[]).flatMap((variant) => {
      const tag = variant.properties?.['type']
      const type = typeof tag === 'object' ? String(tag.const) : ''
      return rowsOf(variant, `${key}[type: ${type}].`, true)
    })
  }
  return rowsOf(element, `${key}[].`, false)
}

function typeText(schema: Schema): string {
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${String(value)}\``).join(', ')
  if (schema.anyOf !== undefined) return '`{env: NAME}` or `{file: PATH}`'
  switch (schema.type) {
    case 'integer':
      return `integer${rangeText(schema)}`
    case 'array':
      return 'list'
    case 'object':
      return 'mapping'
    default:
      return String(schema.type ?? '')
  }
}

function rangeText({ minimum, maximum }: Schema): string {
  const top = maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? undefined : maximum
  if (minimum === undefined || minimum === Number.MIN_SAFE_INTEGER) return ''
  return top === undefined ? ` ≥ ${minimum}` : ` ${minimum} … ${top}`
}

function fallbackText(schema: Schema, required: boolean): string {
  if (required) return '*required*'
  if (schema.default === undefined || schema.type === 'object') return ''
  return `\`${JSON.stringify(schema.default)}\``
}

function table(rows: readonly Row[]): string {
  const lines = rows.map((row) => `| \`${row.key}\` | ${row.type} | ${row.fallback} | ${row.description} |`)
  return ['| key | type | default | |', '| --- | --- | --- | --- |', ...lines].join('\n')
}
