import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { examineFile } from './index.js'
import { calledAddresses, decodeFunction, probeAddress } from './sites.js'

/** A library with the shape of OpenSSL's: public functions around two hidden ones. */
const shaped = (writeInternal: string, callWrite: string) => `
#include <stddef.h>
struct ssl { int state; };
void report(int reason) { __asm__ volatile(""); }
static __attribute__((noinline)) int read_internal(struct ssl *s, void *b, size_t n, size_t *out)
{ for (size_t i = 0; i < n; i++) ((char *)b)[i] = s->state; report(1); *out = n; report(2); return s->state; }
static __attribute__((noinline)) int write_internal${writeInternal}
{ char *c = (char *)b; for (size_t i = 0; i < n; i++) s->state += c[i]; report(3); *out = n; report(4); return s->state; }
int SSL_read(struct ssl *s, void *b, int n) { size_t out; if (n < 0) { report(5); return -1; }
  int r = read_internal(s, b, n, &out); return r > 0 ? (int)out : r; }
int SSL_read_ex(struct ssl *s, void *b, size_t n, size_t *out) { int r = read_internal(s, b, n, out); return r < 0 ? 0 : r; }
int SSL_write(struct ssl *s, const void *b, int n) { size_t out; if (n < 0) { report(6); return -1; }
  int r = ${callWrite.replace('OUT', '&out')}; return r > 0 ? (int)out : r; }
int SSL_write_ex(struct ssl *s, const void *b, size_t n, size_t *out) { int r = ${callWrite.replace('OUT', 'out')}; return r < 0 ? 0 : r; }
void SSL_free(struct ssl *s) { s->state = 0; report(7); }
`

describe('openssl', function () {
  this.timeout(30_000)
  let directory: string
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'cleartap-openssl-'))
  })
  after(() => rmSync(directory, { recursive: true }))

  function compile(source: string, ...flags: string[]): string {
    const path = join(directory, 'library.c')
    const library = join(directory, 'copy-3f8a.so')
    writeFileSync(path, source)
    execFileSync('gcc', [
      '-O2',
      '-shared',
      '-fPIC',
      '-fno-ipa-cp',
      '-fno-ipa-sra',
      ...flags,
      '-o',
      library,
      path,
    ])
    return library
  }

  const fourArguments = shaped(
    '(struct ssl *s, const void *b, size_t n, size_t *out)',
    'write_internal(s, b, n, OUT)',
  )
  const fiveArguments = shaped(
    '(struct ssl *s, const void *b, size_t n, unsigned long flags, size_t *out)',
    'write_internal(s, b, n, n & 1, OUT)',
  )

  it('finds the internal pair of the system library', () => {
    const found = examineFile('/usr/lib/x86_64-linux-gnu/libssl.so.3', false)
    assert.equal(found?.library, 'openssl')
    assert.deepEqual(
      found?.plan.calls.map(({ name, direction, count }) => [name, direction, count]),
      [
        ['ssl_read_internal', 'read', 'fourth'],
        ['ssl_write_internal', 'write', 'fourth'],
      ],
    )
    assert.equal(found?.plan.ends.length, 2)
  })

  it('finds the internal pair under any file name, and where the count is', () => {
    for (const [source, count] of [
      [fourArguments, 'fourth'],
      [fiveArguments, 'fifth'],
    ] as const) {
      const library = compile(source)
      const calls = examineFile(library, false)?.plan.calls ?? []
      assert.deepEqual(
        calls.map((call) => [call.name, call.count]),
        [
          ['ssl_read_internal', 'fourth'],
          ['ssl_write_internal', count],
        ],
      )
      const listing = execFileSync('nm', [library], { encoding: 'utf8' })
      for (const [index, name] of ['read_internal', 'write_internal'].entries()) {
        const address = Number.parseInt(
          new RegExp(`([0-9a-f]+) t ${name}$`, 'm').exec(listing)?.[1] ?? '',
          16,
        )
        assert.ok(Math.abs((calls[index]?.offset ?? 0) - address) <= 4, `${name} at ${address.toString(16)}`)
      }
    }
  })

  it('uses the public functions where the internal ones are inlined', () => {
    const library = compile(
      fourArguments.replaceAll('__attribute__((noinline))', '__attribute__((always_inline)) inline'),
    )
    const calls = examineFile(library, false)?.plan.calls ?? []
    assert.deepEqual(
      calls.map((call) => [call.name, call.direction, call.count]),
      [
        ['SSL_read', 'read', 'return'],
        ['SSL_write', 'write', 'return'],
        ['SSL_read_ex', 'read', 'fourth'],
        ['SSL_write_ex', 'write', 'fourth'],
      ],
    )
  })

  it('does without the _ex pair, as old libraries do', () => {
    const library = compile(`int SSL_read(void *s, void *b, int n) { return n; }
      int SSL_write(void *s, const void *b, int n) { return n; }`)
    const plan = examineFile(library, false)?.plan
    assert.deepEqual(
      plan?.calls.map((call) => call.name),
      ['SSL_read', 'SSL_write'],
    )
    assert.deepEqual(plan?.ends, [])
  })

  it('finds nothing in a library without TLS', () => {
    assert.equal(examineFile('/usr/lib/x86_64-linux-gnu/libc.so.6', false), undefined)
  })
})

describe('probeAddress', () => {
  const site = (hex: string) =>
    probeAddress(decodeFunction(0x1000, Buffer.from(hex.replaceAll(' ', ''), 'hex'))) - 0x1000

  it('takes the first emulated instruction behind no-ops and comparisons', () => {
    assert.equal(site('55 4889e5 c3'), 0)
    assert.equal(site('f30f1efa 55 c3'), 4)
    assert.equal(site('4885ff 7401 90 c3'), 3)
  })

  it('keeps the entry when the stack pointer or a register changes before', () => {
    assert.equal(site('4883ec18 7401 90 c3'), 0)
    assert.equal(site('31c0 55 c3'), 0)
    assert.equal(site('4889f7 55 c3'), 0)
  })

  it('keeps the entry when the place can be reached again', () => {
    assert.equal(site('85ff 55 ebfd c3'), 0)
    assert.equal(site('85ff 55 c3 06'), 0, 'code that is not understood may hold a branch')
  })

  it('lists calls and tail jumps, not jumps inside', () => {
    const decoded = decodeFunction(0x1000, Buffer.from('e8fb0f0000eb0090e9f31f0000', 'hex'))
    assert.deepEqual(calledAddresses(decoded), [0x2000, 0x3000])
  })
})
