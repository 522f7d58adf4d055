/**
 * Filters over requests: checked once, then either SQL with parameters or a test of a message, same meaning.
 * Text compares byte by byte, case counts. EXISTS: text not empty, number not 0, address and id not unknown.
 */
import { Status } from 'nice-grpc'
import { rpcError } from '../../common/grpc-error.js'
import { type Filter, Op, type Value } from '../../gen/cleartap/pulse/v1/query.js'
import { addressRange, idBytes, type Range } from './filter-values.js'
import { type Field, requestFields, type View } from './request-fields.js'

const MAX_DEPTH = 16
const MAX_COMPARISONS = 200
const MAX_VALUES = 1000
const MAX_TEXT_BYTES = 4096
/** Values travel in the statement's URL, which a server takes up to 1 MiB of. */
const MAX_TEXT_BYTES_IN_ALL = 65_536

/** What a comparison asks of its field. */
type Test =
  | { readonly kind: 'exists' }
  | { readonly kind: 'oneOf'; readonly values: readonly (string | bigint)[]; readonly not: boolean }
  | { readonly kind: 'order'; readonly op: '<' | '<=' | '>' | '>='; readonly value: bigint }
  | { readonly kind: 'prefix' | 'contains' | 'matches'; readonly value: string }
  | { readonly kind: 'within'; readonly ranges: readonly Range[]; readonly not: boolean }
  | { readonly kind: 'oneOfIds'; readonly values: readonly Buffer[]; readonly not: boolean }

/** A checked filter. */
export type Predicate =
  | { readonly kind: 'all' | 'any'; readonly parts: readonly Predicate[] }
  | { readonly kind: 'not'; readonly part: Predicate }
  | { readonly kind: 'test'; readonly name: string; readonly field: Field; readonly test: Test }

/** Checks a filter; absent means everything. Throws INVALID_ARGUMENT that names the field or operator. */
export function readFilter(filter: Filter | undefined): Predicate {
  if (filter?.node === undefined) return { kind: 'all', parts: [] }
  const budget = { comparisons: 0, values: 0, textBytes: 0 }
  return readNode(filter, 1, budget)
}

interface Budget {
  comparisons: number
  values: number
  textBytes: number
}

function readNode(filter: Filter | undefined, depth: number, budget: Budget): Predicate {
  if (depth > MAX_DEPTH) throw invalid('filter', `expected at most ${MAX_DEPTH} levels`)
  const node = filter?.node
  switch (node?.$case) {
    case 'and':
    case 'or': {
      const { filters } = node.value
      if (filters.length === 0) throw invalid('filter', `expected filters inside ${node.$case}`)
      const parts = filters.map((part) => readNode(part, depth + 1, budget))
      return { kind: node.$case === 'and' ? 'all' : 'any', parts }
    }
    case 'not':
      return { kind: 'not', part: readNode(node.value.filter, depth + 1, budget) }
    case 'comparison':
      return readComparison(node.value, budget)
    case undefined:
      throw invalid('filter', 'expected and, or, not or a comparison')
  }
}

function readComparison(
  { field: name, op, values }: { field: string; op: Op; values: readonly Value[] },
  budget: Budget,
): Predicate {
  budget.comparisons += 1
  budget.values += values.length
  if (budget.comparisons > MAX_COMPARISONS)
    throw invalid('filter', `expected at most ${MAX_COMPARISONS} comparisons`)
  if (budget.values > MAX_VALUES) throw invalid('filter', `expected at most ${MAX_VALUES} values`)
  for (const { kind } of values) if (kind?.$case === 'text') budget.textBytes += Buffer.byteLength(kind.value)
  if (budget.textBytes > MAX_TEXT_BYTES_IN_ALL) {
    throw invalid('filter', `expected at most ${MAX_TEXT_BYTES_IN_ALL} bytes of text in all`)
  }
  const field = requestFields.get(name)
  if (field === undefined) {
    const known = [...requestFields.keys()].join(', ')
    throw invalid('filter', `field ${JSON.stringify(name.slice(0, 100))} is not known; there are ${known}`)
  }
  return { kind: 'test', name, field, test: readTest(name, field, op, values) }
}

function readTest(name: string, field: Field, op: Op, values: readonly Value[]): Test {
  if (op === Op.OP_EXISTS) return { kind: 'exists' }
  const needed = op === Op.OP_IN ? 'at least one value' : 'one value'
  if (values.length === 0 || (op !== Op.OP_IN && values.length > 1)) {
    throw invalid('filter', `${name}: expected ${needed}, got ${values.length}`)
  }
  switch (field.kind) {
    case 'text':
      return readTextTest(name, op, values)
    case 'integer':
      return readIntegerTest(name, op, values)
    case 'address':
      return readAddressTest(name, op, values)
    case 'id':
      return readIdTest(name, field.size, op, values)
    case 'enum':
      return readEnumTest(name, field.names, op, values)
  }
}

function readTextTest(name: string, op: Op, values: readonly Value[]): Test {
  const texts = values.map((value) => textValue(name, value))
  const [value = ''] = texts
  switch (op) {
    case Op.OP_PREFIX:
      return { kind: 'prefix', value }
    case Op.OP_CONTAINS:
      return { kind: 'contains', value }
    case Op.OP_MATCHES:
      return { kind: 'matches', value }
    default:
      return {
        kind: 'oneOf',
        values: texts,
        not: readEquality(name, op, 'EQ NE IN PREFIX CONTAINS MATCHES EXISTS'),
      }
  }
}

function readIntegerTest(name: string, op: Op, values: readonly Value[]): Test {
  const integers = values.map(({ kind }) => {
    if (kind?.$case !== 'integer')
      throw invalid('filter', `${name}: expected an integer, got ${kind?.$case ?? 'none'}`)
    return kind.value
  })
  const [value = 0n] = integers
  switch (op) {
    case Op.OP_LT:
      return { kind: 'order', op: '<', value }
    case Op.OP_LE:
      return { kind: 'order', op: '<=', value }
    case Op.OP_GT:
      return { kind: 'order', op: '>', value }
    case Op.OP_GE:
      return { kind: 'order', op: '>=', value }
    default:
      return { kind: 'oneOf', values: integers, not: readEquality(name, op, 'EQ NE IN LT LE GT GE EXISTS') }
  }
}

function readAddressTest(name: string, op: Op, values: readonly Value[]): Test {
  const isCidr = op === Op.OP_CIDR
  const not = isCidr ? false : readEquality(name, op, 'EQ NE IN CIDR EXISTS')
  const ranges = values.map((value) => {
    const text = textValue(name, value)
    const range = addressRange(text, isCidr)
    if (range === undefined) {
      throw invalid(
        'filter',
        `${name}: expected an IP ${isCidr ? 'network' : 'address'}, got ${JSON.stringify(text)}`,
      )
    }
    return range
  })
  return { kind: 'within', ranges, not }
}

function readIdTest(name: string, size: number, op: Op, values: readonly Value[]): Test {
  const not = readEquality(name, op, 'EQ NE IN EXISTS')
  const ids = values.map((value) => {
    const text = textValue(name, value)
    const bytes = idBytes(text, size)
    if (bytes === undefined) {
      throw invalid('filter', `${name}: expected ${size * 2} hex digits, got ${JSON.stringify(text)}`)
    }
    return bytes
  })
  return { kind: 'oneOfIds', values: ids, not }
}

function readEnumTest(name: string, names: readonly string[], op: Op, values: readonly Value[]): Test {
  const not = readEquality(name, op, 'EQ NE IN EXISTS')
  const numbers = values.map((value) => {
    const text = textValue(name, value)
    const number = names.indexOf(text)
    if (number < 0) {
      throw invalid('filter', `${name}: expected one of ${names.join(', ')}, got ${JSON.stringify(text)}`)
    }
    return BigInt(number)
  })
  return { kind: 'oneOf', values: numbers, not }
}

/** Whether EQ, NE or IN is negated; throws for others. */
function readEquality(name: string, op: Op, accepted: string): boolean {
  if (op === Op.OP_EQ || op === Op.OP_IN) return false
  if (op === Op.OP_NE) return true
  throw invalid('filter', `${name}: this operator is not for it; there are ${accepted}`)
}

function textValue(name: string, { kind }: Value): string {
  if (kind?.$case !== 'text') throw invalid('filter', `${name}: expected text, got ${kind?.$case ?? 'none'}`)
  const bytes = Buffer.byteLength(kind.value)
  if (bytes > MAX_TEXT_BYTES)
    throw invalid('filter', `${name}: expected at most ${MAX_TEXT_BYTES} bytes, got ${bytes}`)
  return kind.value
}

/** INVALID_ARGUMENT about a field of the request. */
export function invalid(field: string, description: string, reason = 'INVALID_REQUEST'): Error {
  return rpcError(Status.INVALID_ARGUMENT, reason, `${field}: ${description}`, {
    badRequest: [{ field, description }],
  })
}

/** Parameters of a statement: values never stand in its text. */
export class Parameters {
  readonly values: Record<string, unknown> = {}
  #count = 0

  /** Adds a value and returns its place in the statement. */
  add(type: string, value: unknown): string {
    const name = `p${this.#count}`
    this.#count += 1
    this.values[name] = value
    return `{${name}:${type}}`
  }
}

/** The predicate as a condition. */
export function toSql(predicate: Predicate, parameters: Parameters): string {
  switch (predicate.kind) {
    case 'all':
    case 'any': {
      const parts = predicate.parts.map((part) => toSql(part, parameters))
      if (parts.length === 0) return 'true'
      return `(${parts.join(predicate.kind === 'all' ? ' AND ' : ' OR ')})`
    }
    case 'not':
      return `(NOT ${toSql(predicate.part, parameters)})`
    case 'test':
      return testSql(predicate.field, predicate.test, parameters)
  }
}

function testSql(field: Field, test: Test, parameters: Parameters): string {
  const { sql } = field
  switch (test.kind) {
    case 'exists':
      return existsSql(field)
    case 'oneOf': {
      const column = field.kind === 'enum' ? `toInt64(${sql})` : sql
      const parts = test.values.map((value) =>
        typeof value === 'bigint'
          ? `${column} = ${parameters.add('Int64', value.toString())}`
          : `${column} = ${parameters.add('String', value)}`,
      )
      return `(${test.not ? 'NOT ' : ''}(${parts.join(' OR ')}))`
    }
    case 'order':
      return `(${sql} ${test.op} ${parameters.add('Int64', test.value.toString())})`
    case 'prefix':
      return `startsWith(${sql}, ${parameters.add('String', test.value)})`
    case 'contains':
      return `(position(${sql}, ${parameters.add('String', test.value)}) > 0)`
    case 'matches':
      return `match(${sql}, ${parameters.add('String', test.value)})`
    case 'within': {
      const parts = test.ranges.map(
        (range) =>
          `(${sql} BETWEEN toIPv6(${parameters.add('String', range.firstText)}) AND toIPv6(${parameters.add('String', range.lastText)}))`,
      )
      return `(${test.not ? 'NOT ' : ''}(${parts.join(' OR ')}))`
    }
    case 'oneOfIds': {
      const size = field.kind === 'id' ? field.size : 0
      const values = test.values.map(
        (value) => `toFixedString(unhex(${parameters.add('String', value.toString('hex'))}), ${size})`,
      )
      return `(${sql} ${test.not ? 'NOT ' : ''}IN (${values.join(', ')}))`
    }
  }
}

function existsSql(field: Field): string {
  switch (field.kind) {
    case 'text':
      return `(${field.sql} != '')`
    case 'integer':
      return `(${field.sql} != 0)`
    case 'enum':
      return `(toInt8(${field.sql}) != 0)`
    case 'address':
      return `(${field.sql} != toIPv6('::'))`
    case 'id':
      return `(${field.sql} != toFixedString('', ${field.size}))`
  }
}

/** Whether the predicate has a regular expression, which only the database evaluates (in linear time). */
export function hasRegex(predicate: Predicate): boolean {
  switch (predicate.kind) {
    case 'all':
    case 'any':
      return predicate.parts.some(hasRegex)
    case 'not':
      return hasRegex(predicate.part)
    case 'test':
      return predicate.test.kind === 'matches'
  }
}

/** Tests a message as toSql tests its row. Throws for a predicate with a regular expression. */
export function evaluate(predicate: Predicate, view: View): boolean {
  switch (predicate.kind) {
    case 'all':
      return predicate.parts.every((part) => evaluate(part, view))
    case 'any':
      return predicate.parts.some((part) => evaluate(part, view))
    case 'not':
      return !evaluate(predicate.part, view)
    case 'test':
      return evaluateTest(predicate.field, predicate.test, view)
  }
}

function evaluateTest(field: Field, test: Test, view: View): boolean {
  const got = field.read(view)
  switch (test.kind) {
    case 'exists':
      return got instanceof Uint8Array
        ? got.some((byte) => byte !== 0)
        : got !== '' && got !== 0 && got !== 0n
    case 'oneOf': {
      const value = typeof got === 'number' ? BigInt(got) : got
      return test.values.some((wanted) => wanted === value) !== test.not
    }
    case 'order':
      return compare(BigInt(String(got)), test.op, test.value)
    case 'prefix':
      return String(got).startsWith(test.value)
    case 'contains':
      return String(got).includes(test.value)
    case 'matches':
      throw new Error('a regular expression is for the database')
    case 'within':
      return test.ranges.some((range) => range.has(got as Uint8Array)) !== test.not
    case 'oneOfIds': {
      const bytes = Buffer.from(got as Uint8Array)
      const padded = bytes.length === 0 && field.kind === 'id' ? Buffer.alloc(field.size) : bytes
      return test.values.some((wanted) => wanted.equals(padded)) !== test.not
    }
  }
}

function compare(got: bigint, op: '<' | '<=' | '>' | '>=', value: bigint): boolean {
  switch (op) {
    case '<':
      return got < value
    case '<=':
      return got <= value
    case '>':
      return got > value
    case '>=':
      return got >= value
  }
}
