import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'
import { readTextFile } from '../bounded-file.js'
import { describeIssue, pathText } from './describe-issue.js'

const maxFileBytes = 1024 * 1024
const maxAliasCount = 100
const maxProblems = 20

export interface ConfigProblem {
  /** One-based; absent if the problem has no place in the file. */
  readonly line?: number
  readonly column?: number
  /** Such as "sinks[0].type"; absent if the text does not parse. */
  readonly path?: string
  /** What was found, what is accepted, and where it helps a suggestion. */
  readonly text: string
}

/** A configuration that cannot be used. The message has a line for each problem: file:line:column: text. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly ConfigProblem[]

  constructor(file: string, problems: readonly ConfigProblem[]) {
    super(formatProblems(file, problems))
    this.problems = problems
  }
}

/**
 * Reads a YAML file and checks it against the schema; unknown keys are refused, defaults filled in. Without a
 * file the defaults alone count. Throws ConfigError. Files above 1 MiB and alias bombs are refused.
 */
export function loadConfig<Schema extends z.ZodType>(schema: Schema, file?: string): z.output<Schema> {
  if (file === undefined) return parseConfig(schema, '', 'defaults')
  return parseConfig(schema, readBounded(file), file)
}

/** As loadConfig, for text that is already in memory; name stands for the file in messages. */
export function parseConfig<Schema extends z.ZodType>(
  schema: Schema,
  text: string,
  name: string,
): z.output<Schema> {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, {
    lineCounter,
    prettyErrors: false,
    uniqueKeys: true,
    stringKeys: true,
  })
  const syntax = document.errors.map(({ message, pos }) => ({ ...place(lineCounter, pos[0]), text: message }))
  if (syntax.length > 0) throw new ConfigError(name, syntax)
  const value = toValue(document, name)
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const problems = result.error.issues.flatMap((issue) => describeIssue(schema, issue, value))
  throw new ConfigError(
    name,
    problems.map(({ path, key, text: problem }) => ({
      ...placeOf(document, lineCounter, path, key),
      path: pathText(key === undefined ? path : [...path, key]),
      text: problem,
    })),
  )
}

function toValue(document: Document, name: string): unknown {
  try {
    return document.toJS({ maxAliasCount }) ?? {}
  } catch (error) {
    throw new ConfigError(name, [{ text: error instanceof Error ? error.message : String(error) }])
  }
}

function readBounded(file: string): string {
  let text: string | undefined
  try {
    text = readTextFile(file, maxFileBytes)
  } catch (error) {
    throw new ConfigError(file, [{ text: `cannot read the file: ${readFailure(error)}` }])
  }
  if (text !== undefined) return text
  throw new ConfigError(file, [{ text: `the file is larger than ${maxFileBytes} bytes` }])
}

function readFailure(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  switch (code) {
    case 'ENOENT':
      return 'it does not exist'
    case 'EACCES':
      return 'permission denied'
    case 'EISDIR':
      return 'it is a directory'
    default:
      return error instanceof Error ? error.message : String(error)
  }
}

/** Where a path stands, or the nearest part of it that exists; with a key, where that key of the mapping stands. */
function placeOf(
  document: Document,
  lineCounter: LineCounter,
  path: readonly PropertyKey[],
  key: string | undefined,
): Pick<ConfigProblem, 'line' | 'column'> {
  for (let length = path.length; length >= 0; length -= 1) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
    if (key !== undefined && length === path.length && isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
      if (isNode(pair?.key) && pair.key.range) return place(lineCounter, pair.key.range[0])
    }
    if (isNode(node) && node.range) return place(lineCounter, node.range[0])
  }
  return {}
}

function place(lineCounter: LineCounter, offset: number): Pick<ConfigProblem, 'line' | 'column'> {
  const { line, col } = lineCounter.linePos(offset)
  return { line: Math.max(line, 1), column: Math.max(col, 1) }
}

function formatProblems(file: string, problems: readonly ConfigProblem[]): string {
  const lines = problems
    .slice(0, maxProblems)
    .map(({ line, column, text }) =>
      line === undefined ? `${file}: ${text}` : `${file}:${line}:${column}: ${text}`,
    )
  if (problems.length > maxProblems) lines.push(`${file}: and ${problems.length - maxProblems} more problems`)
  return lines.join('\n')
}
