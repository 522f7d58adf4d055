/** Bytes as they are over TLS, by processes of any name. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, realpath, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { checkout } from '../deploy/local/checkout.js'
import type { Program } from '../deploy/local/process.js'
import { startProgram } from '../deploy/local/process.js'
import { makeCertificate } from '../deploy/local/traffic.js'

const scripts = join(checkout.root, 'deploy', 'local', 'traffic')
const readyTimeoutMs = 15_000

export interface RawServer {
  readonly program: Program
  /** HOST:PORT. */
  readonly listen: string
  readonly directory: string
}

/** A Python interpreter under another name. */
export interface NamedPython {
  readonly exe: string
  /** For its standard library. */
  readonly home: string
}

/** Starts a server that answers with the bytes that `talk` says; directory (existing) takes its files. */
export const startRawServer = async (directory: string, python: NamedPython): Promise<RawServer> => {
  await makeCertificate(directory)
  const program = await startProgram({
    name: 'raw HTTPS server',
    command: python.exe,
    args: [join(scripts, 'raw_server.py'), directory],
    env: { PYTHONHOME: python.home },
    logPath: join(directory, 'server.log'),
  })
  try {
    const { listen } = await program.ready(readyTimeoutMs)
    return { program, listen: String(listen), directory }
  } catch (error) {
    await program.stop()
    throw error
  }
}

/** Copies the interpreter to NUMBER/NAME below directory. */
export const namePython = async (directory: string, number: number, name: string): Promise<NamedPython> => {
  const { stdout } = await promisify(execFile)(checkout.python, ['-c', 'import sys; print(sys.base_prefix)'])
  const parent = join(directory, String(number))
  await mkdir(parent)
  const exe = join(parent, name)
  await copyFile(await realpath(checkout.python), exe)
  return { exe, home: stdout.trim() }
}

/** Sends the request, checks that the response came back as it is, and gives the client's pid. */
export const talk = async (
  server: RawServer,
  python: NamedPython,
  request: Uint8Array,
  response: Uint8Array,
  moreArguments: readonly string[] = [],
): Promise<number> => {
  await writeFile(join(server.directory, 'response'), response)
  const certificate = join(server.directory, 'certificate.pem')
  const args = [join(scripts, 'raw_client.py'), server.listen, certificate, ...moreArguments]
  const child = spawn(python.exe, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, PYTHONHOME: python.home },
  })
  child.stdin.end(request)
  const [answer, errors, [code]] = await Promise.all([
    buffer(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  assert.equal(code, 0, `the client ended with ${code}: ${errors}`)
  assert.ok(answer.equals(response), 'the client received other bytes than sent')
  return child.pid ?? 0
}
