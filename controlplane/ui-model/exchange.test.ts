import assert from 'node:assert/strict'
import {
  ArtifactKind,
  ArtifactRef,
  Completeness,
  Direction,
  HttpRequest,
  PeerConfidence,
} from '../../gen/cleartap/event/v1/event.js'
import { Request } from '../../gen/cleartap/pulse/v1/query.js'
import {
  artifactOf,
  completenessWarnings,
  completenessWord,
  confidenceSentence,
  directionSentence,
  directionWord,
  httpOf,
  originOf,
  statusClass,
  truncationNotice,
} from './exchange.js'

const whole = { completeness: Completeness.COMPLETENESS_COMPLETE, status: 200 }

describe('exchange in words', () => {
  it('finds the exchange and its artifacts', () => {
    const body = ArtifactRef.create({ kind: ArtifactKind.ARTIFACT_KIND_HTTP_RESPONSE_BODY, key: 'k' })
    const http = HttpRequest.create({ artifacts: [body] })
    const request = Request.create({ event: { kind: { $case: 'httpRequest', value: http } } })
    const found = httpOf(request)
    assert.ok(found)
    assert.equal(artifactOf(found, ArtifactKind.ARTIFACT_KIND_HTTP_RESPONSE_BODY)?.key, 'k')
    assert.equal(artifactOf(found, ArtifactKind.ARTIFACT_KIND_HTTP_HEADERS), undefined)
    assert.equal(httpOf(Request.create({ event: { kind: { $case: 'connection', value: {} } } })), undefined)
  })

  it('names an origin only where the host is known', () => {
    assert.equal(originOf(HttpRequest.create({ host: 'a:1', scheme: 'http' })), 'http://a:1')
    assert.equal(originOf(HttpRequest.create({ host: 'a' })), 'https://a')
    assert.equal(originOf(HttpRequest.create()), '')
  })

  it('classes every status', () => {
    const classes = [0, 101, 204, 304, 404, 500, 599].map(statusClass)
    assert.deepEqual(classes, ['none', 'info', 'good', 'redirect', 'refused', 'failed', 'failed'])
  })

  it('warns of nothing if all was seen', () => {
    assert.deepEqual(completenessWarnings(HttpRequest.create(whole)), [])
  })

  it('says what is missing', () => {
    const gap = { completeness: Completeness.COMPLETENESS_GAP, status: 200, bytesLost: 2048n }
    assert.match(completenessWarnings(HttpRequest.create(gap)).join(), /lost 2\.05 kB/)
    const aborted = { completeness: Completeness.COMPLETENESS_ABORTED, status: 0 }
    assert.equal(completenessWarnings(HttpRequest.create(aborted)).length, 2)
    assert.match(completenessWarnings(HttpRequest.create({ status: 200 })).join(), /did not say/)
  })

  it('says how much of a body is stored', () => {
    const artifact = ArtifactRef.create({ size: 4096n, truncated: true })
    assert.equal(truncationNotice(artifact, 10_000n), 'stored 4\u202f096 of 10\u202f000 bytes')
    assert.equal(truncationNotice({ ...artifact, truncated: false }, 10_000n), undefined)
  })

  it('has words for every value of the enums, also those to come', () => {
    for (const value of Object.values(Completeness)) assert.notEqual(completenessWord(value), '')
    for (const value of Object.values(PeerConfidence)) assert.notEqual(confidenceSentence(value), '')
    for (const value of Object.values(Direction)) {
      assert.notEqual(directionWord(value), '')
      assert.notEqual(directionSentence(value), '')
    }
  })
})
