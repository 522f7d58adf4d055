import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { checkout } from '../deploy/local/checkout.js'
import { withTemporaryDirectory } from './directory.js'

const biome = join(checkout.root, 'node_modules', '.bin', 'biome')

/** Findings of biome lint with the project's own configuration, as rule names and messages. */
const lint = async (files: Readonly<Record<string, string>>): Promise<string> =>
  withTemporaryDirectory(async (directory) => {
    await copyFile(join(checkout.root, 'biome.json'), join(directory, 'biome.json'))
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(directory, path)), { recursive: true })
      await writeFile(join(directory, path), content)
    }
    const args = ['lint', '--vcs-enabled=false', '--colors=off', '--max-diagnostics=100', '.']
    const { stdout, stderr, status } = spawnSync(biome, args, { cwd: directory, encoding: 'utf8' })
    return `exit ${status}\n${stdout}\n${stderr}`
  })

const importing = (path: string): string => `import { thing } from '${path}'\n\nexport const used = thing\n`

interface Ban {
  readonly file: string
  readonly path: string
  /** Part of the message that states the rule. */
  readonly says: string
}

const bans: readonly Ban[] = [
  { file: 'agent/src/a.ts', path: '../../pulse/src/query.js', says: 'never import one another' },
  {
    file: 'agent/src/sinks/a.ts',
    path: '../../../controlplane/src/main.js',
    says: 'never import one another',
  },
  { file: 'pulse/src/a.ts', path: '../../agent/src/agent.js', says: 'never import one another' },
  {
    file: 'pulse/src/clickhouse/a.ts',
    path: '../../../agent/src/agent.js',
    says: 'never import one another',
  },
  { file: 'controlplane/src/a.ts', path: '../../pulse/src/query.js', says: 'never import one another' },
  {
    file: 'controlplane/src/rest/a.ts',
    path: '../../../agent/src/agent.js',
    says: 'never import one another',
  },
  { file: 'common/a.ts', path: '../agent/src/agent.js', says: 'common knows none' },
  { file: 'deploy/local/a.ts', path: '../../pulse/src/query.js', says: 'start the built programs' },
  { file: 'e2e/a.ts', path: '../agent/src/agent.js', says: 'start the built programs' },
  { file: 'agent/src/a.ts', path: '@clickhouse/client', says: 'Only pulse/src/clickhouse' },
  { file: 'controlplane/src/a.ts', path: '@clickhouse/client', says: 'Only pulse/src/clickhouse' },
  { file: 'pulse/src/a.ts', path: '@clickhouse/client', says: 'Only pulse/src/clickhouse' },
  { file: 'pulse/src/clickhouse/a.ts', path: 'chdb', says: 'Only pulse/src/clickhouse/embedded' },
  { file: 'pulse/src/a.ts', path: '@aws-sdk/client-s3', says: 'speak to the bucket' },
  { file: 'agent/src/plugins/a.ts', path: '@aws-sdk/client-s3', says: 'speak to the bucket' },
  { file: 'controlplane/src/a.ts', path: 'kysely', says: 'Only controlplane/src/store' },
  { file: 'controlplane/src/rest/a.ts', path: 'node:sqlite', says: 'Only controlplane/src/store' },
  { file: 'agent/src/a.ts', path: '../native/build/Release/cleartap.node', says: 'Only agent/src/bpf' },
  { file: 'agent/src/tls/a.ts', path: '../../native/index.js', says: 'Only agent/src/bpf' },
  { file: 'pulse/src/a.ts', path: 'fastify', says: 'Only controlplane/src/rest' },
  { file: 'controlplane/src/store/a.ts', path: '@fastify/static', says: 'Only controlplane/src/rest' },
  { file: 'agent/src/tls/a.ts', path: '../sinks/pulse.js', says: 'know nothing of each other' },
  {
    file: 'agent/src/protocols/http1/a.ts',
    path: '../../plugins/http-capture.js',
    says: 'know nothing of each other',
  },
  { file: 'agent/src/plugins/a.ts', path: '../stores/s3.js', says: 'know nothing of each other' },
  { file: 'agent/src/stores/a.ts', path: '../tls/openssl.js', says: 'know nothing of each other' },
  { file: 'agent/src/sinks/a.ts', path: '../protocols/index.js', says: 'know nothing of each other' },
]

const allowed: readonly Pick<Ban, 'file' | 'path'>[] = [
  { file: 'pulse/src/clickhouse/a.ts', path: '@clickhouse/client' },
  { file: 'pulse/src/clickhouse/embedded/a.ts', path: 'chdb' },
  { file: 'agent/src/stores/a.ts', path: '@aws-sdk/client-s3' },
  { file: 'controlplane/src/objects/a.ts', path: '@aws-sdk/s3-request-presigner' },
  { file: 'deploy/local/a.ts', path: '@aws-sdk/client-s3' },
  { file: 'controlplane/src/store/a.ts', path: 'kysely' },
  { file: 'controlplane/src/rest/a.ts', path: 'fastify' },
  { file: 'agent/src/bpf/a.ts', path: '../../native/index.js' },
  { file: 'agent/src/plugins/a.ts', path: '../stores/store.js' },
  { file: 'agent/src/sinks/a.ts', path: '../../../gen/cleartap/pulse/v1/ingest.js' },
  { file: 'agent/src/agent.ts', path: './sinks/index.js' },
]

const snippets: readonly { readonly rule: string; readonly files: Readonly<Record<string, string>> }[] = [
  {
    rule: 'noExplicitAny',
    files: { 'common/a.ts': 'export const parse = (text: any): string => String(text)\n' },
  },
  {
    rule: 'noNonNullAssertion',
    files: { 'common/a.ts': 'export const first = (a: string[]): string => a[0]!\n' },
  },
  { rule: 'noDefaultExport', files: { 'common/a.ts': 'const a = 1\nexport default a\n' } },
  {
    rule: 'noFloatingPromises',
    files: {
      'common/a.ts':
        'const work = async (): Promise<number> => 1\nexport const start = (): void => {\n  work()\n}\n',
    },
  },
  {
    rule: 'noImportCycles',
    files: {
      'common/a.ts': "import { b } from './b.js'\n\nexport const a = (): number => b()\n",
      'common/b.ts': "import { a } from './a.js'\n\nexport const b = (): number => a()\n",
    },
  },
  {
    rule: 'noFocusedTests',
    files: { 'common/a.test.ts': "describe('a', () => {\n  it.only('works', () => {})\n})\n" },
  },
  {
    rule: 'noSkippedTests',
    files: { 'common/a.test.ts': "describe('a', () => {\n  it.skip('works', () => {})\n})\n" },
  },
  {
    rule: 'noExcessiveLinesPerFunction',
    files: { 'common/a.ts': `export const long = (): void => {\n${'  Date.now()\n'.repeat(61)}}\n` },
  },
]

describe('house rules in biome.json', function () {
  this.timeout(30_000)

  it('accepts a clean file', async () => {
    const output = await lint({ 'common/a.ts': 'export const one = 1\n' })
    assert.match(output, /^exit 0\n/, output)
  })

  for (const { file, path, says } of bans) {
    it(`${file} may not import ${path}`, async () => {
      const output = await lint({ [file]: importing(path) })
      assert.match(output, /^exit 1\n/, output)
      assert.match(output, /noRestrictedImports/, output)
      assert.ok(output.includes(says), output)
    })
  }

  for (const { file, path } of allowed) {
    it(`${file} may import ${path}`, async () => {
      const output = await lint({ [file]: importing(path) })
      assert.match(output, /^exit 0\n/, output)
    })
  }

  for (const { rule, files } of snippets) {
    it(`${rule} fires`, async () => {
      const output = await lint(files)
      assert.match(output, /^exit 1\n/, output)
      assert.ok(output.includes(rule), output)
    })
  }
})
