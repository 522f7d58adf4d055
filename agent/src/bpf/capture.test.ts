import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { linkSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  MIB,
  pythonClient,
  pythonServer,
  pythonThenCurl,
  RawServer,
  sameObjectAgain,
  shell,
  until,
  untouchedBuffer,
  withCapture,
} from './capture.fixture.js'
import type { CaptureOptions } from './capture.js'
import type { DataEvent, ExecEvent, LossEvent } from './events.js'
import { checkHost } from './preflight.js'

const run = promisify(execFile)

describe('Capture', function () {
  this.timeout(30_000)
  let directory: string
  let server: RawServer
  let port: number

  before(async () => {
    const host = checkHost()
    assert.ok(host.ok, host.ok ? '' : host.message)
    directory = mkdtempSync(join(tmpdir(), 'cleartap-capture-'))
    const certificate =
      '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost'
    const files = ['-keyout', join(directory, 'key.pem'), '-out', join(directory, 'cert.pem')]
    execFileSync('openssl', ['req', ...certificate.split(' '), ...files], { stdio: 'ignore' })
    server = new RawServer(directory)
    port = await server.listen()
  })

  after(() => {
    server.close()
    rmSync(directory, { recursive: true })
  })

  function client(name: string, bodyPath: string): Promise<{ stdout: Buffer; pid: number }> {
    const url = `https://127.0.0.1:${port}/upload`
    const [file, args] =
      name === 'curl'
        ? ['curl', ['-sk', '--http1.1', '-H', 'Expect:', '--data-binary', `@${bodyPath}`, url]]
        : ['python3', ['-c', pythonClient, url, bodyPath]]
    return new Promise((resolve, reject) => {
      const child = execFile(
        file as string,
        args as string[],
        { encoding: 'buffer', maxBuffer: 16 * MIB },
        (error, stdout) => (error ? reject(error) : resolve({ stdout, pid: child.pid ?? 0 })),
      )
    })
  }

  for (const name of ['curl', 'python'])
    it(`gives the plaintext of ${name} byte for byte, 0 B to 1 MiB both ways`, async () => {
      await withCapture({}, async (recorder, capture) => {
        for (const bytes of [0, 1, 16 * 1024, MIB]) {
          const body = randomBytes(bytes)
          const bodyPath = join(directory, 'body')
          writeFileSync(bodyPath, body)
          server.response = randomBytes(bytes)
          const { stdout, pid } = await client(name, bodyPath)
          assert.ok(stdout.equals(server.response))
          const carried = server.carried.at(-1)
          assert.ok(carried)
          await until('the process to end', () =>
            recorder.ofKind('exit').some((event) => event.process.pid === pid),
          )
          const socket = recorder.socketFrom(carried.port)
          assert.ok(socket, `no socket event from port ${carried.port}`)
          assert.equal(socket.confidence, 'exact')
          assert.equal(socket.role, 'client')
          assert.equal(socket.process.pid, pid)
          assert.deepEqual([...socket.localAddress, ...socket.remoteAddress], [127, 0, 0, 1, 127, 0, 0, 1])
          assert.equal(socket.remotePort, port)
          assert.ok(recorder.plaintext(socket.streamId, 'write').equals(carried.received), `${bytes} B sent`)
          assert.ok(recorder.plaintext(socket.streamId, 'read').equals(carried.sent), `${bytes} B received`)
          assert.equal(
            recorder.ofKind('close').filter((event) => event.streamId === socket.streamId).length,
            1,
          )
          const process = capture.processes.lookup(socket.process)
          assert.match(process.exe, name === 'curl' ? /^\/usr\/bin\/curl$/ : /python3[.\d]*$/)
          assert.equal(process.comm, name === 'curl' ? 'curl' : 'python3')
        }
        const { lostBytes, streams } = capture.stats()
        assert.deepEqual(lostBytes, { ring_full: 0, fault: 0, truncated: 0, table_full: 0 })
        assert.ok(streams < 100)
      })
    })

  const olderKernels: readonly (readonly [string, CaptureOptions['without'], number])[] = [
    ['6.15, without user reads into dynptrs', ['user_dynptr'], 0],
    ['6.12, without sessions', ['user_dynptr', 'uprobe_session'], 1],
    ['6.1, without uprobe_multi', ['user_dynptr', 'uprobe_session', 'uprobe_multi'], 2],
  ]
  for (const [name, without, notes] of olderKernels)
    it(`captures as on Linux ${name}`, async () => {
      await withCapture(
        { without: without ?? [], targets: { mode: 'children' } },
        async (recorder, capture) => {
          assert.equal(capture.features.degraded.length, notes + 1)
          for (const bytes of [1, 300, 5000, MIB + 7]) {
            const bodyPath = join(directory, 'body')
            writeFileSync(bodyPath, randomBytes(bytes))
            server.response = randomBytes(bytes)
            const { pid } = await client('curl', bodyPath)
            const carried = server.carried.at(-1)
            await until('the exit', () => recorder.ofKind('exit').some((event) => event.process.pid === pid))
            const streamId = recorder.socketFrom(carried?.port ?? 0)?.streamId ?? 0n
            assert.ok(recorder.plaintext(streamId, 'write').equals(carried?.received ?? Buffer.alloc(0)))
            assert.ok(recorder.plaintext(streamId, 'read').equals(carried?.sent ?? Buffer.alloc(0)))
          }
        },
      )
    })

  it('captures without the socket tracepoints, addresses unknown', async () => {
    await withCapture({ without: ['socket_tracing'], targets: { mode: 'children' } }, async (recorder) => {
      server.response = Buffer.from('no address')
      const { pid } = await client('curl', '/dev/null')
      await until('the exit', () => recorder.ofKind('exit').some((event) => event.process.pid === pid))
      const streamId = recorder.ofKind('data').find((event) => event.process.pid === pid)?.streamId ?? 0n
      assert.ok(recorder.plaintext(streamId, 'read').equals(server.carried.at(-1)?.sent ?? Buffer.alloc(0)))
      assert.equal(recorder.ofKind('socket').length, 0)
    })
  })

  it('orders a stream: socket, data, close, and the exit of its process after all', async () => {
    await withCapture({}, async (recorder) => {
      const { pid } = await client('curl', '/dev/null')
      const ofProcess = () => recorder.events.filter((event) => event.process.pid === pid)
      await until('the exit', () => ofProcess().some((event) => event.kind === 'exit'))
      const kinds = ofProcess().map((event) => event.kind)
      const firstOfEach = kinds.filter((kind, index) => kinds[index - 1] !== kind)
      assert.deepEqual(firstOfEach, ['fork', 'exec', 'socket', 'data', 'close', 'exit'])
    })
  })

  it('sees the server end too: both roles, the same addresses', async () => {
    const child = spawn('python3', ['-c', pythonServer, directory])
    try {
      const line = await new Promise<Buffer>((resolve, reject) => {
        child.stdout.once('data', resolve)
        child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)))
      })
      const serverPort = Number(line.toString())
      await withCapture({}, async (recorder) => {
        await run('curl', ['-sk', `https://127.0.0.1:${serverPort}/`])
        const atServer = () =>
          recorder
            .ofKind('socket')
            .find((event) => event.process.pid === child.pid && event.role === 'server')
        await until('both ends', () => atServer() !== undefined)
        const served = atServer()
        assert.ok(served)
        const client = recorder.socketFrom(served.remotePort)
        assert.equal(served.localPort, serverPort)
        assert.equal(client?.role, 'client')
        const closed = (id: bigint) => recorder.ofKind('close').some((event) => event.streamId === id)
        await until('both streams to close', () => closed(served.streamId) && closed(client?.streamId ?? 0n))
        const request = recorder.plaintext(served.streamId, 'read')
        assert.match(request.toString(), /^GET \/ HTTP\/1\.1\r\n/)
        assert.ok(recorder.plaintext(client?.streamId ?? 0n, 'write').equals(request))
        const answer = recorder.plaintext(served.streamId, 'write')
        assert.ok(answer.toString().endsWith('hello'))
        assert.ok(recorder.plaintext(client?.streamId ?? 0n, 'read').equals(answer))
      })
    } finally {
      child.kill()
    }
  })

  it('keeps the name of a process of a few milliseconds', async () => {
    await withCapture({}, async (recorder, capture) => {
      const child = spawn('/bin/true', ['one', 'two words'])
      await new Promise((resolve) => child.once('exit', resolve))
      const exits = () => recorder.ofKind('exit').filter((event) => event.process.pid === child.pid)
      await until('the exit', () => exits().length > 0)
      const exec = recorder.ofKind('exec').find((event) => event.process.pid === child.pid) as ExecEvent
      assert.equal(exec.exe, '/usr/bin/true')
      assert.equal(exec.comm, 'true')
      assert.deepEqual(exec.argv, ['/bin/true', 'one', 'two words'])
      assert.equal(exec.parentPid, process.pid)
      assert.equal(capture.processes.lookup(exec.process).exe, '/usr/bin/true')
      assert.equal(exits()[0]?.status, 0)
    })
  })

  it('tells a program from the one that its process becomes by exec', async () => {
    await withCapture({}, async (recorder) => {
      server.response = randomBytes(MIB)
      const bodyPath = join(directory, 'body')
      writeFileSync(bodyPath, randomBytes(MIB))
      const child = spawn('python3', ['-c', pythonThenCurl, `https://127.0.0.1:${port}/`, bodyPath])
      await until('the exit', () => recorder.ofKind('exit').some((event) => event.process.pid === child.pid))
      for (const [at, exe] of [/\/python3[.\d]*$/, /^\/usr\/bin\/curl$/].entries()) {
        const carried = server.carried.at(at - 2)
        const socket = recorder.socketFrom(carried?.port ?? 0)
        assert.ok(carried && socket)
        assert.equal(socket.process.pid, child.pid)
        assert.ok(recorder.plaintext(socket.streamId, 'write').equals(carried.received))
        assert.ok(recorder.plaintext(socket.streamId, 'read').equals(carried.sent))
        assert.match([...(recorder.exes.get(socket.streamId) ?? [])].join(' and '), exe)
      }
    })
  })

  it('ends at exec the streams of the old program, also where the new one has an object at the same place', async () => {
    const [source, first, second] = ['same.c', 'first', 'second'].map((name) => join(directory, name))
    assert.ok(source && first && second)
    writeFileSync(source, sameObjectAgain)
    execFileSync('gcc', ['-no-pie', '-o', first, source])
    linkSync(first, second)
    await withCapture({ targets: { mode: 'children' } }, async (recorder, capture) => {
      const sites = capture.stats().probes
      const child = spawn(first, ['4', second], { stdio: ['pipe', 'ignore', 'inherit'] })
      await until('the probes', () => capture.stats().probes > sites)
      child.stdin.end('go')
      await until('the exit', () => recorder.ofKind('exit').some((event) => event.process.pid === child.pid))
      const ofChild = recorder.events.filter((event) => event.process.pid === child.pid)
      const kinds = ofChild.map((event) => event.kind)
      const runs = kinds.filter((kind, index) => kinds[index - 1] !== kind)
      assert.deepEqual(runs, ['fork', 'exec', 'data', 'close', 'exec', 'data', 'close', 'exit'])
      assert.deepEqual(
        [...recorder.exes.values()].map((exes) => [...exes]),
        [[first], [second]],
      )
      for (const [at, id] of [...recorder.exes.keys()].entries())
        assert.ok(recorder.plaintext(id, 'write').equals(Buffer.alloc(4 * MIB, 3 - at)))
    })
  })

  it('reports the exit status as wait does', async () => {
    await withCapture({}, async (recorder) => {
      const failing = spawn('/bin/sh', ['-c', 'exit 3'])
      const killed = spawn('/bin/sleep', ['60'])
      killed.kill('SIGKILL')
      const status = (pid: number | undefined) =>
        recorder.ofKind('exit').find((event) => event.process.pid === pid)?.status
      await until('both exits', () => status(failing.pid) !== undefined && status(killed.pid) !== undefined)
      assert.equal(status(failing.pid), 3 << 8)
      assert.equal(status(killed.pid), 9)
    })
  })

  it('captures with "children" what the agent starts and what that forks, nothing else', async () => {
    const outside = shell(`read line; curl -sk https://127.0.0.1:${port}/`)
    await withCapture({ targets: { mode: 'children' } }, async (recorder) => {
      const inside = shell(`curl -sk https://127.0.0.1:${port}/; true`)
      await new Promise((resolve) => inside.once('exit', resolve))
      outside.stdin.end('go\n')
      await new Promise((resolve) => outside.once('exit', resolve))
      const ports = server.carried.slice(-2).map((carried) => carried.port)
      await until('the data', () => recorder.ofKind('data').some((event) => event.direction === 'read'))
      assert.ok(recorder.socketFrom(ports[0] ?? 0))
      assert.equal(recorder.socketFrom(ports[1] ?? 0), undefined)
    })
  })

  it('captures with "only" the given processes and what they fork', async () => {
    const script = `read line; curl -sk https://127.0.0.1:${port}/; true`
    const [wanted, other] = [shell(script), shell(script)]
    await withCapture({ targets: { mode: 'only', pids: [wanted.pid ?? 0] } }, async (recorder) => {
      for (const child of [wanted, other]) {
        child.stdin.end('go\n')
        await new Promise((resolve) => child.once('exit', resolve))
      }
      const ports = server.carried.slice(-2).map((carried) => carried.port)
      await until('the data', () => recorder.ofKind('data').some((event) => event.direction === 'read'))
      assert.ok(recorder.socketFrom(ports[0] ?? 0))
      assert.equal(recorder.socketFrom(ports[1] ?? 0), undefined)
    })
  })

  it('leaves ignored programs alone, and takes a change of the rules at once', async () => {
    await withCapture({ ignore: { exe: ['/usr/bin/curl'], comm: [] } }, async (recorder, capture) => {
      await client('curl', '/dev/null')
      const ignoredPort = server.carried.at(-1)?.port ?? 0
      capture.ignore({ exe: [], comm: [] })
      await client('curl', '/dev/null')
      const seenPort = server.carried.at(-1)?.port ?? 0
      await until('the data', () => recorder.socketFrom(seenPort) !== undefined)
      const ids = new Set(recorder.ofKind('data').map((event) => event.streamId))
      assert.equal(recorder.socketFrom(ignoredPort), undefined)
      assert.ok(ids.has(recorder.socketFrom(seenPort)?.streamId ?? 0n))
    })
  })

  it('says which bytes are lost when the ring is too small', async () => {
    await withCapture({ ringBytes: 64 * 1024, targets: { mode: 'children' } }, async (recorder, capture) => {
      const body = randomBytes(8 * MIB)
      const bodyPath = join(directory, 'body')
      writeFileSync(bodyPath, body)
      server.response = Buffer.from('short')
      const { pid } = await client('curl', bodyPath)
      await until('the exit', () => recorder.ofKind('exit').some((event) => event.process.pid === pid))
      const carried = server.carried.at(-1)
      const streamId = recorder.socketFrom(carried?.port ?? 0)?.streamId
      assert.ok(carried && streamId)
      let offset = 0n
      let lost = 0n
      const pieces = recorder.events.filter(
        (event): event is DataEvent | LossEvent =>
          (event.kind === 'data' || event.kind === 'loss') &&
          event.streamId === streamId &&
          event.direction === 'write',
      )
      for (const piece of pieces) {
        assert.equal(piece.offset, offset)
        if (piece.kind === 'loss') {
          assert.equal(piece.reason, 'ring_full')
          lost += piece.bytes
          offset += piece.bytes
          continue
        }
        const at = Number(offset)
        assert.ok(Buffer.from(piece.bytes).equals(carried.received.subarray(at, at + piece.bytes.length)))
        offset += BigInt(piece.bytes.length)
      }
      assert.ok(lost > 0n, 'nothing was lost: the test proves nothing')
      assert.equal(offset, BigInt(carried.received.length))
      assert.ok(capture.stats().lostBytes.ring_full >= Number(lost))
    })
  })

  for (const sleepable of [true, false])
    it(`${sleepable ? 'brings in' : 'counts as lost'} payload in pages that are not resident`, async () => {
      const program = join(directory, 'untouched')
      const source = join(directory, 'untouched.c')
      const bodyPath = join(directory, 'body')
      const body = randomBytes(100_000)
      writeFileSync(source, untouchedBuffer)
      writeFileSync(bodyPath, body)
      execFileSync('gcc', ['-O0', '-o', program, source])
      const without = sleepable ? [] : (['sleepable'] as const)
      await withCapture({ without, targets: { mode: 'children' } }, async (recorder, capture) => {
        const sites = capture.stats().probes
        const more = sleepable ? [] : ['x']
        const child = spawn(program, [bodyPath, String(body.length), ...more], {
          stdio: ['pipe', 'ignore', 'inherit'],
        })
        await until('the probes', () => capture.stats().probes > sites)
        child.stdin.end('go')
        await until('the exit', () =>
          recorder.ofKind('exit').some((event) => event.process.pid === child.pid),
        )
        const id = recorder.ofKind('data').find((event) => event.process.pid === child.pid)?.streamId
        if (sleepable) {
          assert.ok(recorder.plaintext(id ?? 0n, 'write').equals(body))
          return
        }
        assert.equal(capture.stats().lostBytes.fault, body.length)
        const lost = recorder.ofKind('loss').filter((event) => event.process.pid === child.pid)
        let offset = 0n
        for (const event of lost) {
          assert.deepEqual([event.offset, event.reason], [offset, 'fault'])
          offset += event.bytes
        }
        assert.equal(offset, BigInt(body.length))
        assert.equal(
          recorder.ofKind('data').find((event) => event.streamId === lost[0]?.streamId)?.offset,
          100_000n,
        )
      })
    })

  it('leaves nothing behind: the target runs on, and a second capture starts', async () => {
    const hash = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')
    const library = '/usr/lib/x86_64-linux-gnu/libssl.so.3'
    const before = hash(library)
    await withCapture({}, async () => {})
    assert.equal(hash(library), before)
    server.response = Buffer.from('still here')
    const { stdout } = await client('curl', '/dev/null')
    assert.equal(stdout.toString(), 'still here')
    await withCapture({}, async (recorder) => {
      await client('curl', '/dev/null')
      await until('data', () => recorder.ofKind('data').length > 0)
    })
  })
})
