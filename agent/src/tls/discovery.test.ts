import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LibraryDiscovery, type LibraryFile, mappedFiles } from './discovery.js'

const libssl = '/usr/lib/x86_64-linux-gnu/libssl.so.3'

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 5000
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`waited 5 s for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('mappedFiles', () => {
  it('takes files with executable pages, once each, by device and inode', () => {
    const maps = [
      '00400000-00401000 r--p 00000000 fe:01 77   /usr/bin/a',
      '00401000-00402000 r-xp 00001000 fe:01 77   /usr/bin/a',
      '00402000-00403000 r-xp 00001000 fe:01 77   /usr/bin/a',
      '7f0000000000-7f0000001000 r-xp 00000000 00:2e 9 /a path/with spaces.so (deleted)',
      '7f0000002000-7f0000003000 r-xp 00000000 00:00 0 [vdso]',
      '7f0000004000-7f0000005000 rwxp 00000000 00:00 0 ',
    ].join('\n')
    assert.deepEqual(mappedFiles(maps), [
      { id: 'fe.01:77', range: '401000-402000', path: '/usr/bin/a' },
      { id: '00.2e:9', range: '7f0000000000-7f0000001000', path: '/a path/with spaces.so' },
    ])
  })
})

describe('LibraryDiscovery', function () {
  this.timeout(30_000)
  let directory: string
  let found: LibraryFile[]
  let discovery: LibraryDiscovery

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cleartap-discovery-'))
    found = []
    discovery = new LibraryDiscovery({
      onLibrary: async (file) => {
        found.push(file)
      },
      onFailure: () => {},
      rescanIntervalMs: 60_000,
      maxFiles: 10_000,
    })
  })

  afterEach(async () => {
    await discovery.stop()
    rmSync(directory, { recursive: true })
  })

  it('finds the linker’s libraries before anyone runs, each file once', async () => {
    await discovery.start()
    assert.equal(found.filter((file) => file.path === libssl).length, 1)
    const ids = found.map((file) => file.id)
    assert.equal(new Set(ids).size, ids.length)
    assert.ok(found.every((file) => file.library === 'openssl'))
  })

  it('finds a copy of any name that a process loads late, even if the file is gone', async () => {
    const copy = join(directory, 'libfoo-3f8a.bin')
    copyFileSync(libssl, copy)
    const script = `import ctypes, os, sys, time
ctypes.CDLL('${copy}')
os.unlink('${copy}')
print('loaded', flush=True)
time.sleep(60)`
    const child = spawn('python3', ['-c', script])
    try {
      await new Promise((resolve) => child.stdout.once('data', resolve))
      await discovery.start()
      const file = found.find((each) => each.path.startsWith(`/proc/${child.pid}/map_files/`))
      assert.ok(file, `found ${found.map((each) => each.path).join(' ')}`)
      assert.equal(file.plan.calls[0]?.name, 'ssl_read_internal')
    } finally {
      child.kill()
    }
  })

  it('finds a program with the library linked in when it starts, and not twice', async () => {
    await discovery.start()
    const before = found.length
    const program = join(directory, 'program')
    const source = join(directory, 'main.c')
    writeFileSync(
      source,
      `#include <unistd.h>
      int SSL_read(void *s, void *b, int n) { return n; }
      int SSL_write(void *s, const void *b, int n) { return n; }
      int main(void) { return SSL_read(0, 0, 0) + SSL_write(0, 0, 0) + sleep(60); }`,
    )
    execFileSync('gcc', ['-O0', '-o', program, source])
    const children = [spawn(program), spawn(program)]
    try {
      for (const child of children) discovery.onExec(child.pid ?? 0)
      await until('the program', () => found.length > before)
      await new Promise((resolve) => setTimeout(resolve, 400))
      assert.equal(found.length, before + 1)
      assert.deepEqual(
        found[before]?.plan.calls.map((call) => call.name),
        ['SSL_read', 'SSL_write'],
      )
    } finally {
      for (const child of children) child.kill()
    }
  })
})
