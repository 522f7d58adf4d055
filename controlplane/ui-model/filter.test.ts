import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  FILTER_FIELDS,
  filterFromQuery,
  filterToQuery,
  isFiltering,
  routeFromUrl,
  routeToUrl,
  withField,
} from './filter.js'

const ID = '0192f0aa-1234-7abc-8def-0123456789ab'

describe('filter and address', () => {
  it('gives back any filter that was written into an address', () => {
    const trimmed = fc.string({ minLength: 1, unit: 'binary' }).map((text) => `x${text}x`)
    const record = Object.fromEntries(FILTER_FIELDS.map((field) => [field, trimmed]))
    fc.assert(
      fc.property(fc.record(record, { requiredKeys: [] }), (filter) => {
        assert.deepEqual({ ...filterFromQuery(filterToQuery(filter)) }, { ...filter })
      }),
    )
  })

  it('passes over unknown parameters and blank values', () => {
    assert.deepEqual(filterFromQuery('?method=GET&evil=1&host=%20&__proto__=x'), { method: 'GET' })
  })

  it('sets and clears one field', () => {
    const filter = withField({ method: 'GET' }, 'status', ' 5xx ')
    assert.deepEqual(filter, { method: 'GET', status: '5xx' })
    assert.deepEqual(withField(filter, 'status', '  '), { method: 'GET' })
    assert.equal(isFiltering(withField({ host: 'a' }, 'host', '')), false)
  })

  it('addresses one request, keeping the filter', () => {
    const route = { requestId: ID, filter: { host: 'a b&c' } }
    assert.equal(routeToUrl(route), `/requests/${ID}?host=a+b%26c`)
    assert.deepEqual(routeFromUrl(`/requests/${ID.toUpperCase()}`, '?host=a+b%26c'), route)
  })

  it('takes any other path for the table', () => {
    for (const path of ['/', '/requests', '/requests/1', `/requests/${ID}/x`, `/requests/../${ID}`]) {
      assert.equal(routeFromUrl(path, '').requestId, undefined)
    }
  })
})
