import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import {
  type DescriptorProto,
  FieldDescriptorProto_Type,
  FileDescriptorProto,
} from '../../gen/google/protobuf/descriptor.js'

/** Numbers of the options in cleartap/event/v1/options.proto. */
const SENSITIVITY = 50_001
const REQUIRED_PERMISSION = 50_001
const AUDIT = 50_002
const IMAGE = new URL('../../../gen/descriptors.binpb', import.meta.url)

/** A message's fields by number, undecoded: the generated code drops options that it does not know. */
type Raw = ReadonlyMap<number, readonly (Uint8Array | number)[]>

function parse(bytes: Uint8Array): Raw {
  const reader = new BinaryReader(bytes)
  const fields = new Map<number, (Uint8Array | number)[]>()
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag()
    const values = fields.get(number) ?? []
    fields.set(number, values)
    if (wire === WireType.LengthDelimited) values.push(reader.bytes())
    else if (wire === WireType.Varint) values.push(Number(reader.uint64()))
    else reader.skip(wire, number)
  }
  return fields
}

const messages = (raw: Raw, number: number): Raw[] =>
  (raw.get(number) ?? []).flatMap((value) => (typeof value === 'number' ? [] : [parse(value)]))
const text = (raw: Raw, number: number): string => {
  const value = raw.get(number)?.[0]
  return typeof value === 'object' ? Buffer.from(value).toString() : ''
}

describe('contract', () => {
  const files = parse(readFileSync(IMAGE)).get(1) ?? []
  const ours = files.flatMap((bytes) => {
    if (typeof bytes === 'number') return []
    const file = FileDescriptorProto.decode(bytes)
    return file.package?.startsWith('cleartap.') ? [{ file, raw: parse(bytes) }] : []
  })

  it('says of every method who may call it and how that is recorded', () => {
    const methods = ours.flatMap(({ file, raw }) =>
      messages(raw, 6).flatMap((service) =>
        messages(service, 2).map((method) => {
          const [options] = messages(method, 4)
          return {
            name: `${file.package}.${text(service, 1)}.${text(method, 1)}`,
            permission: options ? text(options, REQUIRED_PERMISSION) : '',
            audit: options?.get(AUDIT)?.[0],
          }
        }),
      ),
    )
    assert.ok(methods.length >= 7)
    for (const { name, permission, audit } of methods) {
      assert.match(permission, /^[a-z]+(\.[a-z_]+)+$/, name)
      assert.ok(typeof audit === 'number' && audit > 0, name)
    }
  })

  it('says of every text and bytes field of an event what it can reveal', () => {
    const fields = ours
      .filter(({ file }) => file.package === 'cleartap.event.v1')
      .flatMap(({ file, raw }) =>
        messages(raw, 4).flatMap((message, i) => fieldsOf(message, file.messageType[i])),
      )
    assert.ok(fields.length >= 28)
    for (const { name, sensitivity } of fields) assert.ok(sensitivity > 0, name)
  })
})

/** Fields of type string or bytes. */
function fieldsOf(raw: Raw, message: DescriptorProto | undefined): { name: string; sensitivity: number }[] {
  return messages(raw, 2).flatMap((field, i) => {
    const declared = message?.field[i]
    const isText =
      declared?.type === FieldDescriptorProto_Type.TYPE_STRING ||
      declared?.type === FieldDescriptorProto_Type.TYPE_BYTES
    if (!isText) return []
    const value = messages(field, 8)[0]?.get(SENSITIVITY)?.[0]
    return [{ name: `${message?.name}.${declared.name}`, sensitivity: typeof value === 'number' ? value : 0 }]
  })
}
