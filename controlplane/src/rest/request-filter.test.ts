import assert from 'node:assert/strict'
import { Filter, TimeRange } from '../../../gen/cleartap/pulse/v1/query.js'
import { ProblemError } from './problem.js'
import { type FilterParameters, toFilter, toRange } from './request-filter.js'

/** The tree as text: and(a, b), or(a, b), field OP value. */
function show(filter: Filter | undefined): string {
  switch (filter?.node?.$case) {
    case 'and':
      return `and(${filter.node.value.filters.map(show).join(', ')})`
    case 'or':
      return `or(${filter.node.value.filters.map(show).join(', ')})`
    case 'comparison': {
      const { field, op, values } = Object(Filter.toJSON(filter)).comparison
      return `${field} ${op.slice(3)} ${values[0].text ?? values[0].integer}`
    }
    default:
      return 'all'
  }
}

describe('filter parameters', () => {
  const cases: readonly (readonly [FilterParameters, string])[] = [
    [{}, 'all'],
    [{ host: '' }, 'all'],
    [{ method: 'get' }, 'req.method EQ GET'],
    [{ method: ['GET', 'POST'] }, 'or(req.method EQ GET, req.method EQ POST)'],
    [{ status: '404' }, 'res.status EQ 404'],
    [{ status: '5xx' }, 'and(res.status GE 500, res.status LE 599)'],
    [{ status: '400-404' }, 'and(res.status GE 400, res.status LE 404)'],
    [{ status: '>=500' }, 'res.status GE 500'],
    [{ status: '<300' }, 'res.status LT 300'],
    [{ host: 'Example.com' }, 'req.host CONTAINS example.com'],
    [{ host: '=example.com' }, 'req.host EQ example.com'],
    [{ path: '/api/*' }, 'req.path PREFIX /api/'],
    [{ comm: 'curl' }, 'proc.comm CONTAINS curl'],
    [{ exe: '/usr/bin/*', pid: '12' }, 'and(proc.exe PREFIX /usr/bin/, proc.pid EQ 12)'],
  ]
  for (const [parameters, expected] of cases) {
    it(`${JSON.stringify(parameters)} becomes ${expected}`, () => {
      assert.equal(show(toFilter(parameters)), expected)
    })
  }

  for (const parameters of [
    { status: '6xx' },
    { status: 'ok' },
    { status: '=404' },
    { pid: '-1' },
    { pid: 'x' },
  ]) {
    it(`${JSON.stringify(parameters)} is refused with what is accepted`, () => {
      assert.throws(
        () => toFilter(parameters),
        (error) =>
          error instanceof ProblemError && error.status === 400 && /expected .*; got "/.test(error.message),
      )
    })
  }
})

describe('range parameters', () => {
  it('keep nanoseconds and offsets', () => {
    const range = toRange({ start: '2026-11-23T18:00:00.123456789+02:00', end: '2026-11-23T16:00:01Z' })
    assert.deepEqual(range?.start, { seconds: 1795449600n, nanos: 123_456_789 })
    assert.deepEqual(range?.end, { seconds: 1795449601n, nanos: 0 })
    assert.ok(TimeRange.encode(range).finish().length > 0)
  })

  it('may be open at one end', () => {
    assert.deepEqual(toRange({ start: '1970-01-01T00:00:02Z' }), {
      start: { seconds: 2n, nanos: 0 },
      end: undefined,
    })
    assert.equal(toRange({}), undefined)
  })

  it('must not be empty', () => {
    const instant = '2026-11-23T18:00:00Z'
    assert.throws(() => toRange({ start: instant, end: instant }), /is not after start/)
  })
})
