import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readSecret } from './secret.js'

describe('readSecret', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cleartap-secret-'))
  after(() => rmSync(directory, { recursive: true }))

  it('reads variables, and files without their last newline', () => {
    const file = join(directory, 'a')
    writeFileSync(file, 'hunter2\n\n')
    assert.equal(readSecret({ env: 'KEY' }, { KEY: ' hunter2 ' }), ' hunter2 ')
    assert.equal(readSecret({ file }, {}), 'hunter2\n')
  })

  it('says what is missing, never the value', () => {
    const large = join(directory, 'large')
    writeFileSync(large, 'hunter2'.repeat(10_000))
    assert.throws(
      () => readSecret({ env: 'KEY' }, {}),
      /^ExitError: secret: environment variable KEY is not set$/,
    )
    assert.throws(() => readSecret({ env: 'KEY' }, { KEY: '' }), /is empty/)
    assert.throws(() => readSecret({ file: join(directory, 'no') }, {}), /cannot read file .*no \(ENOENT\)$/)
    assert.throws(
      () => readSecret({ file: large }, {}),
      (error: Error) => /larger than 65536/.test(error.message) && !/hunter2/.test(error.message),
    )
  })
})
