import assert from 'node:assert/strict'
import fc from 'fast-check'
import { contentCoding, detectBodyKind, prettyJson, sniffImageType } from './body-content.js'

const bytes = (text: string) => new TextEncoder().encode(text)

describe('body content', () => {
  it('judges by the bytes first', () => {
    const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0)
    const cases = [
      ['', 'text/html', 'empty'],
      ['{"a":1}', '', 'json'],
      [' [1]', 'text/plain', 'json'],
      ['true', 'application/problem+json; charset=utf-8', 'json'],
      ['<script>alert(1)</script>', 'image/png', 'text'],
      ['<svg xmlns="http://www.w3.org/2000/svg"/>', 'image/svg+xml', 'text'],
      ['a\u0000b', 'text/plain', 'binary'],
      ['größe', 'text/plain', 'text'],
    ] as const
    for (const [text, type, kind] of cases) assert.equal(detectBodyKind(bytes(text), type), kind, text)
    assert.equal(detectBodyKind(png, 'text/html'), 'image')
    assert.equal(
      detectBodyKind(
        Uint8Array.from({ length: 64 }, (_, i) => 255 - i),
        '',
      ),
      'binary',
    )
    assert.equal(detectBodyKind(Uint8Array.of(0x1f, 0x8b, 8, 0, 1, 2, 3, 4), 'application/json'), 'binary')
  })

  it('knows raster images only', () => {
    assert.equal(sniffImageType(bytes('GIF89a')), 'image/gif')
    assert.equal(sniffImageType(bytes('RIFF....WEBP')), 'image/webp')
    assert.equal(sniffImageType(Uint8Array.of(0xff, 0xd8, 0xff, 0xe0)), 'image/jpeg')
    assert.equal(sniffImageType(bytes('<svg/>')), undefined)
    assert.equal(sniffImageType(new Uint8Array()), undefined)
  })

  it('lays out JSON without changing a value', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        const pretty = prettyJson(json)
        assert.deepEqual(JSON.parse(pretty ?? ''), JSON.parse(json))
        assert.equal(pretty, JSON.stringify(JSON.parse(json), undefined, 2))
      }),
    )
  })

  it('keeps every digit of a number', () => {
    assert.equal(
      prettyJson('{"id":12345678901234567890,"x":1.10}'),
      '{\n  "id": 12345678901234567890,\n  "x": 1.10\n}',
    )
  })

  it('has no layout for text that is not JSON, as when it was cut', () => {
    assert.equal(prettyJson('{"a":'), undefined)
    assert.equal(prettyJson(''), undefined)
  })

  it('reads the content coding', () => {
    assert.deepEqual(contentCoding(undefined), { kind: 'none' })
    assert.deepEqual(contentCoding('identity'), { kind: 'none' })
    assert.deepEqual(contentCoding(' GZIP '), { kind: 'known', format: 'gzip' })
    assert.deepEqual(contentCoding('br'), { kind: 'unknown', name: 'br' })
    assert.deepEqual(contentCoding('gzip, br'), { kind: 'unknown', name: 'gzip, br' })
  })
})
