import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { packageRoot } from '../version.js'
import { configDocuments } from './documents.js'

describe('configuration documents', () => {
  for (const [path, content] of configDocuments()) {
    it(`${path} is current; else run node dist/common/config/write-docs.js`, () => {
      assert.equal(readFileSync(new URL(path, packageRoot), 'utf8'), content)
    })
  }

  it('lists nested keys of list elements by their type', () => {
    const page = configDocuments().get('docs/configuration.md') ?? ''
    assert.match(page, /\| `sinks\[type: pulse\]\.spool\.max_bytes` \| integer ≥ 1048576 \| `1073741824` \|/)
    assert.match(page, /\| `stores\[type: directory\]\.path` \| string \| \*required\* \|/)
    assert.match(page, /\| `clickhouse\.password` \| `\{env: NAME\}` or `\{file: PATH\}` \|/)
  })
})
