import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { maxRevisionBytes } from '../../common/config/revision.js'
import { createLogger } from '../../common/log.js'
import type { ConfigPush } from '../../gen/cleartap/controlplane/v1/config.js'
import { loadAgentId } from './agent-id.js'
import { ConfigRevisions } from './config-revisions.js'
import { ConfigStore } from './config-store.js'

const log = createLogger('test', { level: 'error', format: 'json', destination: { write: () => undefined } })

async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'cleartap-revisions-'))
  try {
    await use(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function open(directory: string, applied: string[] = []): Promise<ConfigRevisions> {
  const apply = async ({ level }: { level: string }) => void applied.push(level)
  const revisions = new ConfigRevisions(await ConfigStore.open(directory, log), apply, log)
  await revisions.restore()
  return revisions
}

function push(version: bigint, content: string, resource = 'agent'): ConfigPush {
  const bytes = Buffer.from(content)
  const sha256 = createHash('sha256').update(bytes).digest()
  return { nonce: 'n', config: { resource, version, sha256 }, content: bytes, mediaType: 'application/yaml' }
}

async function codesOf(revisions: ConfigRevisions, pushed: ConfigPush): Promise<string[]> {
  const outcome = await revisions.take(pushed)
  return outcome.kind === 'applied' ? [] : outcome.errors.map(({ code }) => code)
}

const good = 'capture: {level: headers}'

describe('revisions at the agent', () => {
  it('are applied, kept over a restart, and not applied twice', async () => {
    await withDirectory(async (directory) => {
      const applied: string[] = []
      const revisions = await open(directory, applied)
      assert.deepEqual(await revisions.take(push(3n, good)), { kind: 'applied' })
      assert.deepEqual(await revisions.take(push(3n, good)), { kind: 'applied' })
      assert.deepEqual(applied, ['headers'])
      assert.equal(revisions.running.version, 3n)
      assert.deepEqual((await open(directory)).running, revisions.running)
    })
  })

  it('are rejected with place, finding and what is accepted', async () => {
    await withDirectory(async (directory) => {
      const revisions = await open(directory)
      await revisions.take(push(1n, good))
      const outcome = await revisions.take(push(2n, 'capture:\n  level: fulll\n  max_body_bytes: -4\n'))
      assert.ok(outcome.kind === 'rejected')
      assert.deepEqual(
        outcome.errors.map(({ path, line, column, code }) => ({ path, line, column, code })),
        [
          { path: 'capture.level', line: 2, column: 10, code: 'INVALID' },
          { path: 'capture.max_body_bytes', line: 3, column: 19, code: 'INVALID' },
        ],
      )
      assert.match(outcome.errors[0]?.message ?? '', /"fulll".*accepted: metadata, headers, full/)
      assert.equal(revisions.running.version, 1n)
      assert.equal(revisions.lastAttempt?.state, 'rejected')
      assert.equal((await open(directory)).running.version, 1n)
    })
  })

  it('are refused when version, hash, size, resource or syntax is wrong', async () => {
    await withDirectory(async (directory) => {
      const revisions = await open(directory)
      await revisions.take(push(5n, good))
      assert.deepEqual(await codesOf(revisions, push(4n, good)), ['VERSION_NOT_NEWER'])
      assert.deepEqual(await codesOf(revisions, push(5n, 'capture: {}')), ['VERSION_NOT_NEWER'])
      assert.deepEqual(await codesOf(revisions, { ...push(6n, good), content: Buffer.from('x') }), [
        'CHECKSUM_MISMATCH',
      ])
      assert.deepEqual(await codesOf(revisions, push(6n, ' '.repeat(maxRevisionBytes + 1))), ['TOO_LARGE'])
      assert.deepEqual(await codesOf(revisions, push(6n, good, 'other')), ['UNKNOWN_RESOURCE'])
      assert.deepEqual(await codesOf(revisions, push(2n ** 53n, good)), ['VERSION_TOO_LARGE'])
      assert.notEqual(revisions.lastAttempt?.version, String(2n ** 53n))
      for (const content of [
        '',
        'null',
        '[]',
        'hello',
        '{}',
        'capture: [',
        'capture: {level: full}\nextra: 1',
      ]) {
        assert.deepEqual(await codesOf(revisions, push(6n, content)), ['INVALID'], JSON.stringify(content))
      }
      assert.equal(revisions.running.version, 5n)
    })
  })

  it('fall back to the file when the stored one is damaged', async () => {
    await withDirectory(async (directory) => {
      await (await open(directory)).take(push(1n, good))
      const path = join(directory, 'config', 'last-good.json')
      const stored = await readFile(path, 'utf8')
      for (const damaged of ['', '{', stored.slice(0, -5), stored.replace('headers', 'metadata'), '[]']) {
        await writeFile(path, damaged)
        const applied: string[] = []
        assert.equal((await open(directory, applied)).running.version, 0n)
        assert.deepEqual(applied, [])
      }
    })
  })

  it('leave no temporary file', async () => {
    await withDirectory(async (directory) => {
      await (await open(directory)).take(push(1n, good))
      assert.deepEqual((await readdir(join(directory, 'config'))).sort(), [
        'last-attempt.json',
        'last-good.json',
      ])
    })
  })
})

describe('the agent id', () => {
  it('is made once', async () => {
    await withDirectory(async (directory) => {
      const id = await loadAgentId(join(directory, 'new'))
      assert.equal(id.length, 16)
      assert.deepEqual(await loadAgentId(join(directory, 'new')), id)
    })
  })

  it('is not replaced when the file holds something else', async () => {
    await withDirectory(async (directory) => {
      for (const text of ['nonsense', 'f81d4fae-7dec-41d0-a765-00a0c91e6bf6']) {
        await writeFile(join(directory, 'agent-id'), text)
        await assert.rejects(loadAgentId(directory), /expected a UUID of version 7; got/)
      }
    })
  })
})
