/** Turns what zod found into words: where, what was found, what is accepted, what may have been meant. */
import { z } from 'zod'
import { nearest } from './nearest.js'

export interface DescribedIssue {
  readonly path: readonly PropertyKey[]
  /** The key itself is wrong, not its value. */
  readonly key?: string
  readonly text: string
}

type Issue = z.core.$ZodIssue
type JsonSchema = z.core.JSONSchema.BaseSchema

const secretName = /password|secret|token|key/i
const maxShownLength = 60

export function describeIssue(schema: z.ZodType, issue: Issue, root: unknown): DescribedIssue[] {
  if (issue.code === 'unrecognized_keys') return unknownKeys(schema, issue, root)
  return [{ path: issue.path, text: `${pathText(issue.path)}: ${valueProblem(issue, root)}` }]
}

function unknownKeys(
  schema: z.ZodType,
  issue: z.core.$ZodIssueUnrecognizedKeys,
  root: unknown,
): DescribedIssue[] {
  const accepted = acceptedKeys(schema, issue.path, root)
  return issue.keys.map((key) => ({
    path: issue.path,
    key,
    text: `unknown key "${pathText([...issue.path, key])}"; ${suggestion(key, accepted)}accepted: ${accepted.join(', ')}`,
  }))
}

function valueProblem(issue: Issue, root: unknown): string {
  const value = valueAt(root, issue.path)
  const found = shown(value, issue.path)
  switch (issue.code) {
    case 'invalid_value':
      return `found ${found}; ${meant(value, issue.values)}accepted: ${issue.values.map(String).join(', ')}`
    case 'invalid_type':
      return value === undefined
        ? `is required; expected ${issue.expected}`
        : `found ${found}; expected ${issue.expected}`
    case 'too_big':
      return `found ${found}; at most ${issue.maximum} ${unitOf(issue.origin)}`.trimEnd()
    case 'too_small':
      return `found ${found}; at least ${issue.minimum} ${unitOf(issue.origin)}`.trimEnd()
    case 'invalid_union':
      return unionProblem(issue, value, found)
    case 'invalid_format':
      return `found ${found}; ${lowerFirst(issue.message)}`
    default:
      return `found ${found}; ${issue.message}`
  }
}

function unionProblem(issue: z.core.$ZodIssueInvalidUnion, value: unknown, found: string): string {
  if ('options' in issue && Array.isArray(issue.options)) {
    const problem = value === undefined ? 'is required' : `found ${found}`
    return `${problem}; ${meant(value, issue.options)}accepted: ${issue.options.map(String).join(', ')}`
  }
  const secret = '{env: NAME} or {file: PATH}'
  const takesSecret = issue.errors.flat().some(({ path }) => path[0] === 'env' || path[0] === 'file')
  const isReference = issue.errors
    .flat()
    .some((inner) => inner.code === 'invalid_type' && inner.expected === 'object')
  return `found ${found}; expected ${takesSecret || isReference ? secret : 'another form'}`
}

function unitOf(origin: string): string {
  switch (origin) {
    case 'string':
      return 'characters'
    case 'array':
      return 'entries'
    default:
      return ''
  }
}

function meant(value: unknown, accepted: readonly unknown[]): string {
  return typeof value === 'string' ? suggestion(value, accepted.map(String)) : ''
}

function suggestion(word: string, accepted: readonly string[]): string {
  const best = nearest(word, accepted)
  return best === undefined ? '' : `did you mean "${best}"? `
}

/** The keys that the schema has at a path, by way of its JSON Schema. */
function acceptedKeys(schema: z.ZodType, path: readonly PropertyKey[], root: unknown): string[] {
  let node: JsonSchema = z.toJSONSchema(schema, { io: 'input' })
  let value = root
  for (const part of path) {
    node = variantOf(node, value)
    const next = typeof part === 'number' ? node.items : node.properties?.[String(part)]
    if (typeof next !== 'object' || Array.isArray(next)) return []
    node = next as JsonSchema
    value = valueAt(value, [part])
  }
  const variants = node.anyOf ?? [variantOf(node, value)]
  return variants.flatMap((variant) => Object.keys((variant as JsonSchema).properties ?? {}))
}

/** Of a discriminated union the member that the value's "type" names. */
function variantOf(node: JsonSchema, value: unknown): JsonSchema {
  const type = valueAt(value, ['type'])
  const variants = (node.oneOf ?? []) as JsonSchema[]
  return variants.find(({ properties }) => constOf(properties?.['type']) === type) ?? node
}

function constOf(schema: JsonSchema | boolean | undefined): unknown {
  return typeof schema === 'object' ? schema.const : undefined
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = Reflect.get(value, part)
  }
  return value
}

/** A value as it may stand in a message: short, and never one that may be a secret. */
function shown(value: unknown, path: readonly PropertyKey[]): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'a mapping'
  if (path.some((part) => typeof part === 'string' && secretName.test(part))) return 'a value (not shown)'
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > maxShownLength ? `${text.slice(0, maxShownLength)}…` : text
}

/** Such as "sinks[0].type". */
export function pathText(path: readonly PropertyKey[]): string {
  if (path.length === 0) return 'the file'
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`
    return text === '' ? String(part) : `${text}.${String(part)}`
  }, '')
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
