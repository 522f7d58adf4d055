import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { z } from 'zod'
import { ConfigError, loadConfig, parseConfig } from './load.js'
import { agentConfigSchema, controlplaneConfigSchema, pulseConfigSchema } from './schema.js'

function problemsOf(text: string, schema: z.ZodType = agentConfigSchema): string {
  try {
    parseConfig(schema, text, 'a.yaml')
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message
  }
  assert.fail('the configuration was accepted')
}

describe('loadConfig', () => {
  let directory: string

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'cleartap-config-'))
  })

  after(() => rmSync(directory, { recursive: true }))

  it('fills in defaults, of all three services, without a file', () => {
    assert.equal(loadConfig(agentConfigSchema).admin.listen, '127.0.0.1:7401')
    assert.equal(loadConfig(pulseConfigSchema).ingest.max_batch_bytes, 4 * 1024 * 1024)
    assert.equal(loadConfig(controlplaneConfigSchema).http.listen, '127.0.0.1:7411')
  })

  it('reads a file', () => {
    const file = join(directory, 'agent.yaml')
    writeFileSync(file, 'capture:\n  level: headers\nsinks:\n  - type: stdout\n')
    const config = loadConfig(agentConfigSchema, file)
    assert.equal(config.capture.level, 'headers')
    assert.deepEqual(config.sinks, [{ type: 'stdout', format: 'json' }])
  })

  it('refuses unknown keys with their place, what is accepted and what was probably meant', () => {
    assert.match(
      problemsOf('data_dir: /x\ncapture:\n  levl: full\n'),
      /^a\.yaml:3:3: unknown key "capture\.levl"; did you mean "level"\? accepted: level, max_body_bytes, ignore$/,
    )
    assert.match(
      problemsOf('sinks:\n  - type: pulse\n    adress: 127.0.0.1:1\n'),
      /^a\.yaml:3:5: unknown key "sinks\[0\]\.adress"; did you mean "address"\? accepted: type, address, /,
    )
    assert.match(problemsOf('zzzzzzzzzz: 1\n'), /^a\.yaml:1:1: unknown key "zzzzzzzzzz"; accepted: data_dir/)
  })

  it('says what was found and what is accepted', () => {
    assert.match(
      problemsOf('capture: {level: ful}\n'),
      /^a\.yaml:1:18: capture\.level: found "ful"; did you mean "full"\? accepted: metadata, headers, full$/,
    )
    assert.match(
      problemsOf('sinks: [{type: puls}]\n'),
      /^a\.yaml:1:16: sinks\[0\]\.type: found "puls"; did you mean "pulse"\? accepted: pulse, stdout$/,
    )
    assert.match(problemsOf('capture: {max_body_bytes: -1}\n'), /max_body_bytes: found -1; at least 0$/)
    assert.match(
      problemsOf('max_connections: many\n'),
      /:1:18: max_connections: found "many"; expected number$/,
    )
    assert.match(problemsOf('admin: {listen: 7401}\n'), /admin\.listen: found 7401; expected string$/)
    assert.match(
      problemsOf('admin: {listen: here}\n'),
      /found "here"; expected HOST:PORT, such as 127\.0\.0\.1:7400$/,
    )
    assert.match(problemsOf('stores: [{type: directory}]\n'), /:1:10: stores\[0\]\.path: is required/)
    assert.match(problemsOf('- a\n'), /^a\.yaml:1:1: the file: found a list; expected object$/)
  })

  it('lists every problem', () => {
    const lines = problemsOf('capture: {level: 3}\nring_bytes: 1\nfoo: 1\n').split('\n')
    assert.equal(lines.length, 3)
  })

  it('never shows what stands in the place of a secret', () => {
    const text = problemsOf(
      'clickhouse:\n  url: http://127.0.0.1:8123\n  password: hunter2\n',
      pulseConfigSchema,
    )
    assert.match(
      text,
      /^a\.yaml:3:13: clickhouse\.password: found a value \(not shown\); expected \{env: NAME\}/,
    )
    assert.doesNotMatch(text, /hunter2/)
  })

  it('names the place of YAML errors and duplicate keys', () => {
    assert.match(problemsOf('capture:\n  level: "full\n'), /^a\.yaml:\d+:\d+: /)
    assert.match(problemsOf('org: a\norg: b\n'), /^a\.yaml:2:1: Map keys must be unique/)
  })

  it('refuses alias bombs', () => {
    const levels = Array.from({ length: 9 }, (_, index) => {
      const inner = index === 0 ? '"x"' : `*l${index - 1}`
      return `l${index}: &l${index} [${Array(9).fill(inner).join(', ')}]`
    })
    assert.match(problemsOf(levels.join('\n')), /alias/i)
  })

  it('refuses files that are absent, directories, or too large', () => {
    assert.throws(
      () => loadConfig(agentConfigSchema, join(directory, 'no')),
      /no: cannot read the file: it does/,
    )
    assert.throws(() => loadConfig(agentConfigSchema, directory), /it is a directory/)
    const large = join(directory, 'large.yaml')
    writeFileSync(large, `# ${'x'.repeat(1024 * 1024)}\n`)
    assert.throws(() => loadConfig(agentConfigSchema, large), /larger than 1048576 bytes/)
  })
})
