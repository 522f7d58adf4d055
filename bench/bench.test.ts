import assert from 'node:assert/strict'
import { isMet } from './bench.js'

describe('marks of benchmarks', () => {
  const figure = { name: 'rate', value: 10, unit: 'events/s' }

  it('has no judgement without a mark', () => {
    assert.equal(isMet(figure), null)
  })

  it('takes the mark itself as met, both ways', () => {
    assert.equal(isMet({ ...figure, mark: { value: 10, direction: 'at-least' } }), true)
    assert.equal(isMet({ ...figure, mark: { value: 10, direction: 'at-most' } }), true)
  })

  it('sees a missed mark, both ways', () => {
    assert.equal(isMet({ ...figure, mark: { value: 11, direction: 'at-least' } }), false)
    assert.equal(isMet({ ...figure, mark: { value: 9, direction: 'at-most' } }), false)
  })

  it('lets no NaN pass', () => {
    assert.equal(isMet({ ...figure, value: Number.NaN, mark: { value: 1, direction: 'at-most' } }), false)
    assert.equal(isMet({ ...figure, value: Number.NaN, mark: { value: 1, direction: 'at-least' } }), false)
  })

  it('follows the judgement of the benchmark', () => {
    assert.equal(isMet({ ...figure, met: false, mark: { value: 10, direction: 'at-least' } }), false)
  })
})
