import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { BpfEvent } from './events.js'
import { recordKind, structs } from './layout.js'
import { type KernelRecord, RecordReader, splitArguments } from './records.js'

const DISCARD = 0x40000000

/** Builds a batch as the ring holds it: an 8-byte header, the record, padding to 8. */
class Batch {
  readonly buffer = new ArrayBuffer(64 * 1024)
  readonly view = new DataView(this.buffer)
  at = 0

  /** Adds a record and gives its position for filling in. */
  add(bytes: number, flags = 0): number {
    this.view.setUint32(this.at, bytes | flags, true)
    const record = this.at + 8
    this.at = (record + bytes + 7) & ~7
    return record
  }

  data(payload: Uint8Array, sequence: number): void {
    const layout = structs.data_record
    const record = this.add(layout.bytes + payload.length)
    this.view.setUint16(record, recordKind.RECORD_DATA, true)
    this.view.setUint16(record + layout.direction, 1, true)
    this.view.setUint32(record + layout.length, payload.length, true)
    this.view.setBigUint64(record + layout.stream_id, 42n, true)
    this.view.setBigUint64(record + layout.offset, 7n, true)
    this.view.setBigUint64(record + layout.start_ns, 2n ** 60n, true)
    this.view.setUint32(record + layout.pid, 4711, true)
    this.view.setUint32(record + layout.sequence, sequence, true)
    new Uint8Array(this.buffer).set(payload, record + layout.bytes)
  }

  read(): KernelRecord[] {
    const records: KernelRecord[] = []
    new RecordReader(this.buffer).forEach(0, this.at, (record) => records.push(record))
    return records
  }
}

describe('RecordReader', () => {
  it('gives data of any length in order, and passes over discarded records', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 40 }), (payloads) => {
        const batch = new Batch()
        payloads.forEach((payload, index) => {
          if (index % 3 === 0) batch.add(24, DISCARD)
          batch.data(payload, index)
        })
        const records = batch.read()
        assert.equal(records.length, payloads.length)
        records.forEach((record, index) => {
          assert.ok(record.kind === 'data')
          assert.deepEqual([...record.bytes], [...(payloads[index] ?? [])])
          assert.equal(record.sequence, index)
          assert.deepEqual(record.process, { pid: 4711, startNs: 2n ** 60n })
          assert.deepEqual([record.streamId, record.offset, record.direction], [42n, 7n, 'write'])
        })
      }),
    )
  })

  it('uses one process object for a run of records', () => {
    const batch = new Batch()
    batch.data(new Uint8Array(1), 0)
    batch.data(new Uint8Array(1), 1)
    const [first, second] = batch.read() as BpfEvent[]
    assert.equal(first?.process, second?.process)
  })

  it('gives mapped addresses as four bytes, others as sixteen', () => {
    const layout = structs.socket_record
    const batch = new Batch()
    const record = batch.add(layout.bytes)
    batch.view.setUint16(record, recordKind.RECORD_SOCKET, true)
    const bytes = new Uint8Array(batch.buffer)
    bytes.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1], record + layout.local_address)
    bytes.set([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], record + layout.remote_address)
    batch.view.setUint16(record + layout.remote_port, 443, true)
    bytes[record + layout.confidence] = 2
    bytes[record + layout.role] = 1
    const [socket] = batch.read()
    assert.ok(socket?.kind === 'socket')
    assert.deepEqual([...socket.localAddress], [192, 0, 2, 1])
    assert.equal(socket.remoteAddress.length, 16)
    assert.deepEqual([socket.remotePort, socket.confidence, socket.role], [443, 'exact', 'client'])
  })

  it('puts a path together from leaf to root, and marks one that was cut', () => {
    const layout = structs.exec_record
    for (const [complete, expected] of [
      [1, '/usr/bin/curl'],
      [0, '.../usr/bin/curl'],
    ] as const) {
      const batch = new Batch()
      const record = batch.add(layout.bytes + 512 + 13)
      batch.view.setUint16(record, recordKind.RECORD_EXEC, true)
      batch.view.setUint16(record + layout.argv_bytes, 8, true)
      batch.view.setUint16(record + layout.path_bytes, 13, true)
      batch.view.setUint16(record + layout.path_complete, complete, true)
      const bytes = Buffer.from(batch.buffer)
      bytes.write('curl\0', record + layout.comm)
      bytes.write('curl\0-s\0', record + layout.bytes)
      bytes.write('curl\0bin\0usr\0', record + layout.bytes + 512)
      const [exec] = batch.read()
      assert.ok(exec?.kind === 'exec')
      assert.deepEqual([exec.exe, exec.comm, exec.argv], [expected, 'curl', ['curl', '-s']])
    }
  })

  it('throws on framing that is not the kernel’s, with what it got', () => {
    const overlong = new Batch()
    overlong.add(100)
    overlong.at = 64
    assert.throws(() => overlong.read(), /record of 100 bytes at 0 does not end before 64/)
    const busy = new Batch()
    busy.add(16, 0x80000000)
    assert.throws(() => busy.read(), /does not end/)
    const unknown = new Batch()
    batch99(unknown)
    assert.throws(() => unknown.read(), /kind 99 .* kinds 1 to 8/)
  })

  function batch99(batch: Batch): void {
    batch.view.setUint16(batch.add(16), 99, true)
  }
})

describe('splitArguments', () => {
  it('keeps empty arguments and a cut last one', () => {
    assert.deepEqual(splitArguments(''), [])
    assert.deepEqual(splitArguments('a\0\0b\0'), ['a', '', 'b'])
    assert.deepEqual(splitArguments('a\0cut of'), ['a', 'cut of'])
  })
})
