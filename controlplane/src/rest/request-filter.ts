/** Query parameters that select requests, and the filter tree that Pulse takes. */
import { z } from 'zod'
import { type Filter, Op, type TimeRange, type Value } from '../../../gen/cleartap/pulse/v1/query.js'
import { ProblemError } from './problem.js'

const maxParameterLength = 2048

/** One value, or several: repeated parameters match any of them. */
const values = (description: string) =>
  z
    .union([z.string().max(maxParameterLength), z.array(z.string().max(maxParameterLength)).max(50)])
    .optional()
    .describe(description)

const textForms = 'Text matches anywhere in it; a trailing * makes it a prefix, a leading = the whole.'

export const filterParameters = {
  method: values('Request method, such as GET.'),
  status: values('Response status: 404, 5xx, 400-499, >=500; 0 where none was seen.'),
  host: values(`Host of the request, with port if it had one. ${textForms}`),
  path: values(`Path without query. ${textForms}`),
  comm: values(`Short name of the process. ${textForms}`),
  exe: values(`Path of the executable. ${textForms}`),
  pid: values('Process id.'),
}

export const rangeParameters = {
  start: z.iso.datetime({ offset: true }).optional().describe('RFC 3339; from this moment on.'),
  end: z.iso.datetime({ offset: true }).optional().describe('RFC 3339; before this moment.'),
}

export type FilterParameters = z.output<z.ZodObject<typeof filterParameters>>
export type RangeParameters = z.output<z.ZodObject<typeof rangeParameters>>

/** All parameters must match; undefined if none is given. @throws ProblemError 400. */
export function toFilter(parameters: FilterParameters): Filter | undefined {
  const parts = [
    anyOf(parameters.method, (text) => compare('req.method', Op.OP_EQ, textValue(text.toUpperCase()))),
    anyOf(parameters.status, statusFilter),
    anyOf(parameters.host, (text) => textFilter('req.host', text.toLowerCase())),
    anyOf(parameters.path, (text) => textFilter('req.path', text)),
    anyOf(parameters.comm, (text) => textFilter('proc.comm', text)),
    anyOf(parameters.exe, (text) => textFilter('proc.exe', text)),
    anyOf(parameters.pid, pidFilter),
  ].filter((part) => part !== undefined)
  return parts.length > 1 ? { node: { $case: 'and', value: { filters: parts } } } : parts[0]
}

/** @throws ProblemError 400 if the end is not after the start. */
export function toRange({ start, end }: RangeParameters): TimeRange | undefined {
  if (start === undefined && end === undefined) return undefined
  if (start !== undefined && end !== undefined && Date.parse(end) <= Date.parse(start)) {
    throw invalid('end', `${end} is not after start ${start}`)
  }
  return {
    start: start === undefined ? undefined : toTimestamp(start),
    end: end === undefined ? undefined : toTimestamp(end),
  }
}

/** RFC 3339 to seconds and nanoseconds, no digit lost. */
function toTimestamp(text: string): { seconds: bigint; nanos: number } {
  const seconds = Math.floor(Date.parse(text) / 1000)
  const fraction = /\.(\d{1,9})/.exec(text)?.[1] ?? ''
  return { seconds: BigInt(seconds), nanos: Number(fraction.padEnd(9, '0')) }
}

function anyOf(
  parameter: string | readonly string[] | undefined,
  toPart: (text: string) => Filter,
): Filter | undefined {
  const texts = [parameter ?? []].flat().filter((text) => text !== '')
  const parts = texts.map(toPart)
  return parts.length > 1 ? { node: { $case: 'or', value: { filters: parts } } } : parts[0]
}

function textFilter(field: string, text: string): Filter {
  if (text.startsWith('=')) return compare(field, Op.OP_EQ, textValue(text.slice(1)))
  if (text.endsWith('*')) return compare(field, Op.OP_PREFIX, textValue(text.slice(0, -1)))
  return compare(field, Op.OP_CONTAINS, textValue(text))
}

const statusOps = new Map<string, Op>([
  ['<', Op.OP_LT],
  ['<=', Op.OP_LE],
  ['>', Op.OP_GT],
  ['>=', Op.OP_GE],
])

function statusFilter(text: string): Filter {
  const field = 'res.status'
  const forms =
    /^(?:(?<one>\d{1,3})|(?<hundred>[1-5])xx|(?<low>\d{3})-(?<high>\d{3})|(?<op>[<>]=?)(?<limit>\d{1,3}))$/i
  const groups = forms.exec(text)?.groups
  if (groups === undefined) {
    throw invalid('status', `expected 404, 5xx, 400-499 or >=500; got ${JSON.stringify(text.slice(0, 60))}`)
  }
  const { one, hundred, low, high, op, limit } = groups
  if (one !== undefined) return compare(field, Op.OP_EQ, integerValue(one))
  const relation = statusOps.get(op ?? '')
  if (relation !== undefined) return compare(field, relation, integerValue(limit ?? '0'))
  const from = hundred === undefined ? (low ?? '0') : `${hundred}00`
  const to = hundred === undefined ? (high ?? '0') : `${hundred}99`
  const filters = [compare(field, Op.OP_GE, integerValue(from)), compare(field, Op.OP_LE, integerValue(to))]
  return { node: { $case: 'and', value: { filters } } }
}

function pidFilter(text: string): Filter {
  if (!/^\d{1,10}$/.test(text)) {
    throw invalid('pid', `expected a process id; got ${JSON.stringify(text.slice(0, 60))}`)
  }
  return compare('proc.pid', Op.OP_EQ, integerValue(text))
}

function compare(field: string, op: Op, value: Value): Filter {
  return { node: { $case: 'comparison', value: { field, op, values: [value] } } }
}

function textValue(text: string): Value {
  return { kind: { $case: 'text', value: text } }
}

function integerValue(text: string): Value {
  return { kind: { $case: 'integer', value: BigInt(text) } }
}

function invalid(path: string, message: string): ProblemError {
  return new ProblemError(400, 'INVALID_ARGUMENT', `${path}: ${message}`, {
    errors: [{ path, code: 'INVALID_VALUE', message }],
  })
}
