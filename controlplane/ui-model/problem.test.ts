import assert from 'node:assert/strict'
import { problemDetail, problemSentence, reasonOf } from './problem.js'

describe('problems', () => {
  it('takes the detail, or else the title', () => {
    assert.equal(problemDetail('{"title":"Bad Request","detail":"status: got \\"x\\"."}'), 'status: got "x"')
    assert.equal(problemDetail('{"title":"Bad Request"}'), 'Bad Request')
    for (const text of ['', '<html>', 'null', '[]', '{"detail":5}'])
      assert.equal(problemDetail(text), undefined)
  })

  it('makes a sentence of any answer', () => {
    assert.equal(
      problemSentence('The list', 503, '{"detail":"Pulse cannot be reached"}'),
      'The list failed: Pulse cannot be reached (HTTP 503).',
    )
    assert.equal(problemSentence('The list', 404, ''), 'The list failed: it does not exist (HTTP 404).')
    assert.equal(
      problemSentence('The list', 502, '<html>'),
      'The list failed: the control plane has trouble (HTTP 502).',
    )
  })

  it('names the reason of whatever was thrown', () => {
    assert.equal(reasonOf(new Error('why')), 'why')
    assert.equal(reasonOf('text'), 'text')
  })
})
