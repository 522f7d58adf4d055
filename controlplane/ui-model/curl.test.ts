import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { curlCommand, shellQuote } from './curl.js'

/** The words that a real POSIX shell makes of a command. */
function shellWords(command: string): readonly string[] {
  const script = `set -- ${command}\nfor word; do printf '%s\\0' "$word"; done`
  return execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1)
}

describe('copy as cURL', () => {
  it('quotes so that a shell reads the same word back', () => {
    const printable = fc
      .string({ unit: 'grapheme' })
      .filter((text) => shellQuote(text).includes(text.slice(0, 1)))
    fc.assert(
      fc.property(printable, (text) => {
        assert.deepEqual(shellWords(shellQuote(text)), [text])
      }),
      { numRuns: 50 },
    )
    const nasty = `it's "$HOME" \`id\` $(id) \\ !x ; & | > #\n\tend`
    assert.deepEqual(shellWords(shellQuote(nasty)), [nasty])
    assert.deepEqual(shellWords(shellQuote('')), [''])
  })

  it('lets no control character through to a terminal', () => {
    assert.equal(shellQuote('a\u001b[2Jb\u0000c\u009bd\re'), `'a?[2Jb?c?d?e'`)
  })

  it('sends the headers of the request, without those that curl makes itself', () => {
    const head = {
      line: 'POST /v1/x?q=a%20b HTTP/1.1',
      headers: [
        ['Host', 'api.example.com'],
        ['Content-Length', '2'],
        ['X-Empty', ''],
        ['Accept', '*/*'],
      ] as const,
    }
    const words = shellWords(curlCommand('https://api.example.com', head, { kind: 'text', text: `{'}` }))
    assert.deepEqual(words, [
      'curl',
      'https://api.example.com/v1/x?q=a%20b',
      '--path-as-is',
      '--globoff',
      '--header',
      'X-Empty;',
      '--header',
      'Accept: */*',
      '--data-raw',
      `{'}`,
    ])
  })

  it('names the method where curl would guess another', () => {
    const words = (line: string, body: Parameters<typeof curlCommand>[2]) =>
      shellWords(curlCommand('https://a', { line, headers: [] }, body)).slice(2, 4)
    assert.deepEqual(words('GET / HTTP/1.1', { kind: 'none' }), ['--path-as-is', '--globoff'])
    assert.deepEqual(words('DELETE / HTTP/1.1', { kind: 'none' }), ['--request', 'DELETE'])
    assert.deepEqual(words('GET / HTTP/1.1', { kind: 'text', text: 'x' }), ['--request', 'GET'])
    assert.deepEqual(words('HEAD / HTTP/1.1', { kind: 'none' }), ['--head', '--path-as-is'])
  })

  it('takes a saved body from its file, without the coding that was undone', () => {
    const head = { line: 'PUT /b HTTP/1.1', headers: [['Content-Encoding', 'gzip']] as const }
    const command = curlCommand('https://a', head, { kind: 'file', name: 'request-body.bin' })
    assert.match(command, /--data-binary @request-body\.bin$/)
    assert.doesNotMatch(command, /encoding/i)
  })
})
