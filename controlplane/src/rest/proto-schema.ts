/** JSON Schemas of proto messages as the generated toJSON writes them, for the OpenAPI document. */
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FileDescriptorSet,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from '../../../gen/google/protobuf/descriptor.js'

type JsonSchema = Readonly<Record<string, unknown>>

/** Written by hand: their JSON is not that of their fields. */
const wellKnown: ReadonlyMap<string, JsonSchema> = new Map<string, JsonSchema>([
  ['google.protobuf.Timestamp', { type: 'string', format: 'date-time' }],
])

/**
 * Schemas of the named messages and of all that they hold, each with its full name as $id.
 * @param descriptorSet a serialised google.protobuf.FileDescriptorSet.
 */
export function protoSchemas(descriptorSet: Uint8Array, names: readonly string[]): JsonSchema[] {
  const types = indexTypes(FileDescriptorSet.decode(descriptorSet))
  const schemas = new Map<string, JsonSchema>()
  const pending = [...names]
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (schemas.has(name)) continue
    const schema: JsonSchema = { $id: name, ...schemaOf(name, types) }
    schemas.set(name, schema)
    pending.push(...references(schema))
  }
  return [...schemas].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, schema]) => schema)
}

interface Types {
  readonly messages: ReadonlyMap<string, DescriptorProto>
  readonly enums: ReadonlyMap<string, EnumDescriptorProto>
}

function indexTypes(set: FileDescriptorSet): Types {
  const messages = new Map<string, DescriptorProto>()
  const enums = new Map<string, EnumDescriptorProto>()
  const addMessage = (scope: string, message: DescriptorProto) => {
    const name = `${scope}.${message.name}`
    messages.set(name, message)
    for (const each of message.enumType) enums.set(`${name}.${each.name}`, each)
    for (const nested of message.nestedType) addMessage(name, nested)
  }
  for (const file of set.file) {
    const scope = file.package ?? ''
    for (const each of file.enumType) enums.set(`${scope}.${each.name}`, each)
    for (const message of file.messageType) addMessage(scope, message)
  }
  return { messages, enums }
}

function schemaOf(name: string, { messages, enums }: Types): JsonSchema {
  const known = wellKnown.get(name)
  if (known !== undefined) return known
  const values = enums.get(name)?.value.map((value) => value.name)
  if (values !== undefined) return { type: 'string', enum: values }
  const message = messages.get(name)
  if (message === undefined) throw new Error(`the descriptor set has no message ${name}`)
  const properties = message.field.map((field) => [field.jsonName ?? field.name ?? '', fieldSchema(field)])
  return { type: 'object', properties: Object.fromEntries(properties) }
}

function fieldSchema(field: FieldDescriptorProto): JsonSchema {
  const single = singleSchema(field)
  return field.label === Label.LABEL_REPEATED ? { type: 'array', items: single } : single
}

function singleSchema(field: FieldDescriptorProto): JsonSchema {
  switch (field.type) {
    case Type.TYPE_STRING:
      return { type: 'string' }
    case Type.TYPE_BYTES:
      return { type: 'string', contentEncoding: 'base64' }
    case Type.TYPE_BOOL:
      return { type: 'boolean' }
    case Type.TYPE_DOUBLE:
    case Type.TYPE_FLOAT:
      return { type: 'number' }
    case Type.TYPE_INT64:
    case Type.TYPE_UINT64:
    case Type.TYPE_FIXED64:
    case Type.TYPE_SFIXED64:
    case Type.TYPE_SINT64:
      return { type: 'string', pattern: '^-?[0-9]+$' }
    case Type.TYPE_MESSAGE:
    case Type.TYPE_ENUM:
      return { $ref: `${field.typeName?.replace(/^\./, '')}#` }
    default:
      return { type: 'integer' }
  }
}

function references(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === '$ref' ? [String(inner).replace(/#$/, '')] : references(inner),
  )
}
