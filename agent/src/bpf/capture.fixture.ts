/** The other side of captures in tests: a TLS server that knows the plaintext, a recorder, clients. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { Capture, type CaptureOptions } from './capture.js'
import type { BpfEvent, DataEvent, SocketEvent } from './events.js'

export const MIB = 1024 * 1024

/** What one connection carried, as the server saw it. */
export interface Carried {
  readonly port: number
  received: Buffer
  sent: Buffer
}

/** A TLS server in this process, which is never captured: it knows the plaintext from the other side. */
export class RawServer {
  readonly carried: Carried[] = []
  response = Buffer.alloc(0)
  readonly #server: Server

  constructor(directory: string) {
    const key = readFileSync(join(directory, 'key.pem'))
    const cert = readFileSync(join(directory, 'cert.pem'))
    this.#server = createServer({ key, cert }, (socket) => this.#serve(socket))
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return (this.#server.address() as AddressInfo).port
  }

  close(): void {
    this.#server.close()
  }

  #serve(socket: TLSSocket): void {
    const carried: Carried = {
      port: socket.remotePort ?? 0,
      received: Buffer.alloc(0),
      sent: Buffer.alloc(0),
    }
    this.carried.push(carried)
    const chunks: Buffer[] = []
    let size = 0
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      const head = Buffer.concat(chunks.length > 4 ? chunks.slice(0, 4) : chunks)
      const bodyAt = head.indexOf('\r\n\r\n') + 4
      const length = /content-length: (\d+)/i.exec(head.toString('latin1', 0, Math.max(0, bodyAt)))?.[1]
      if (bodyAt < 4 || size < bodyAt + Number(length ?? 0)) return
      carried.received = Buffer.concat(chunks)
      const start = `HTTP/1.1 200 OK\r\nContent-Length: ${this.response.length}\r\nConnection: close\r\n\r\n`
      carried.sent = Buffer.concat([Buffer.from(start), this.response])
      socket.end(carried.sent)
    })
  }
}

/** Keeps what a capture says, payload copied. */
export class Recorder {
  readonly events: BpfEvent[] = []
  /** Executables that streams were of, as known when their data came. */
  readonly exes = new Map<bigint, Set<string>>()

  onEvent(event: BpfEvent, capture: Capture): void {
    if (event.kind === 'data') {
      const exes = this.exes.get(event.streamId) ?? new Set()
      this.exes.set(event.streamId, exes.add(capture.processes.lookup(event.process).exe))
    }
    this.events.push(event.kind === 'data' ? { ...event, bytes: Uint8Array.from(event.bytes) } : event)
  }

  onBatchEnd(): void {}

  ofKind<K extends BpfEvent['kind']>(kind: K): Extract<BpfEvent, { kind: K }>[] {
    return this.events.filter((event): event is Extract<BpfEvent, { kind: K }> => event.kind === kind)
  }

  socketFrom(port: number): SocketEvent | undefined {
    return this.ofKind('socket').find((event) => event.localPort === port)
  }

  /** Plaintext of one direction, after asserting that offsets and sequence numbers have no gap. */
  plaintext(streamId: bigint, direction: DataEvent['direction']): Buffer {
    let offset = 0n
    let sequence = 0
    const pieces = this.ofKind('data').filter(
      (event) => event.streamId === streamId && event.direction === direction,
    )
    for (const piece of pieces) {
      assert.equal(piece.offset, offset)
      assert.equal(piece.sequence, sequence++)
      offset += BigInt(piece.bytes.length)
    }
    return Buffer.concat(pieces.map((piece) => piece.bytes))
  }
}

export async function until(what: string, condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`waited ${timeoutMs} ms for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** A shell that reads lines from its standard input; without one it ends by itself. */
export const shell = (script: string) =>
  spawn('/bin/sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'] })

export const quiet = { debug() {}, info() {}, warn() {} }
export const everything: CaptureOptions = {
  ringBytes: 16 * MIB,
  maxStreams: 65_536,
  targets: { mode: 'all' },
  ignore: { exe: [], comm: [] },
  logger: quiet,
}

/** Captures everything but for the options given, while use runs. */
export async function withCapture(
  options: Partial<CaptureOptions>,
  use: (recorder: Recorder, capture: Capture) => Promise<void>,
): Promise<void> {
  const recorder = new Recorder()
  const capture = await Capture.start({ ...everything, ...options }, recorder)
  try {
    await use(recorder, capture)
  } finally {
    await capture.stop()
  }
}

export const pythonClient = `
import ssl, sys, urllib.request
context = ssl._create_unverified_context()
data = open(sys.argv[2], 'rb').read()
with urllib.request.urlopen(urllib.request.Request(sys.argv[1], data=data), context=context) as answer:
    sys.stdout.buffer.write(answer.read())
`

export const pythonServer = `
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '5')
        self.end_headers()
        self.wfile.write(b'hello')
    def log_message(self, *arguments):
        pass
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + '/cert.pem', sys.argv[1] + '/key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
`

/** Sends a file's mapping without ever touching its pages, then one resident byte. */
export const untouchedBuffer = `
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
int SSL_read(void *object, void *buffer, int bytes) { return bytes; }
int SSL_write(void *object, const void *buffer, int bytes) { return bytes; }
int main(int argc, char **argv)
{
  int bytes = atoi(argv[2]), object = 0;
  void *map = mmap(0, bytes, PROT_READ, MAP_PRIVATE, open(argv[1], O_RDONLY), 0);
  getchar();
  SSL_write(&object, map, bytes);
  if (argc > 3) SSL_write(&object, argv[3], 1);
  return 0;
}`

/** A request by urllib, its connection kept; then the process becomes curl: URL BODY_FILE. */
export const pythonThenCurl = `
import os, ssl, sys, urllib.request
url, body = sys.argv[1:]
context = ssl._create_unverified_context()
answer = urllib.request.urlopen(urllib.request.Request(url, data=open(body, 'rb').read()), context=context)
answer.read()
os.execvp('curl', ['curl', '-sk', '--http1.1', '-o', '/dev/null', url])
`

/** Writes MIBS through an object, then becomes PROGRAM, which writes through one at the same address. */
export const sameObjectAgain = `
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int SSL_read(void *object, void *buffer, int bytes) { return bytes; }
int SSL_write(void *object, const void *buffer, int bytes) { return bytes; }
static int object;
static char buffer[1 << 20];
int main(int argc, char **argv)
{
  int mibs = atoi(argv[1]);
  if (argc > 2) getchar();
  for (int i = 0; i < sizeof(buffer); i++) buffer[i] = argc;
  for (int i = 0; i < mibs; i++) SSL_write(&object, buffer, sizeof(buffer));
  if (argc > 2) execl(argv[2], argv[2], argv[1], (char *)0);
  return 0;
}`
