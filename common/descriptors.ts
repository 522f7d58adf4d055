import { readFileSync } from 'node:fs'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { type DescriptorProto, FileDescriptorProto } from '../gen/google/protobuf/descriptor.js'
import { packageRoot } from './version.js'

interface DescriptorFile {
  /** As serialised: options that this program does not know stay in it. */
  readonly bytes: Uint8Array
  readonly descriptor: FileDescriptorProto
}

/** Every .proto file of the project, by file name, symbol and extension. */
export class Descriptors {
  readonly #files = new Map<string, DescriptorFile>()
  readonly #fileOfSymbol = new Map<string, string>()
  readonly #extensions = new Map<string, Map<number, string>>()

  /** Takes a serialised google.protobuf.FileDescriptorSet; throws if it does not decode. */
  constructor(descriptorSet: Uint8Array) {
    for (const bytes of filesOf(descriptorSet)) this.#add(bytes)
  }

  /** A file and everything it imports, each serialised, itself first; undefined if unknown. */
  fileWithImports(name: string): Uint8Array[] | undefined {
    if (!this.#files.has(name)) return undefined
    const names = new Set([name])
    for (const next of names) {
      for (const dependency of this.#files.get(next)?.descriptor.dependency ?? []) names.add(dependency)
    }
    return [...names].flatMap((each) => this.#files.get(each)?.bytes ?? [])
  }

  /** Name of the file that declares a message, enum, service, method or extension by full name. */
  fileOfSymbol(symbol: string): string | undefined {
    return this.#fileOfSymbol.get(symbol)
  }

  fileOfExtension(containingType: string, number: number): string | undefined {
    return this.#extensions.get(containingType)?.get(number)
  }

  extensionNumbers(containingType: string): number[] | undefined {
    const known = this.#extensions.get(containingType)
    if (known !== undefined) return [...known.keys()]
    return this.#fileOfSymbol.has(containingType) ? [] : undefined
  }

  #add(bytes: Uint8Array): void {
    const descriptor = FileDescriptorProto.decode(bytes)
    const file = descriptor.name ?? ''
    this.#files.set(file, { bytes, descriptor })
    const scope = descriptor.package ? `${descriptor.package}.` : ''
    for (const message of descriptor.messageType) this.#addMessage(file, scope, message)
    for (const each of descriptor.enumType) this.#fileOfSymbol.set(`${scope}${each.name}`, file)
    this.#addExtensions(file, scope, descriptor)
    for (const service of descriptor.service) {
      this.#fileOfSymbol.set(`${scope}${service.name}`, file)
      for (const method of service.method) {
        this.#fileOfSymbol.set(`${scope}${service.name}.${method.name}`, file)
      }
    }
  }

  #addMessage(file: string, scope: string, message: DescriptorProto): void {
    const name = `${scope}${message.name}`
    this.#fileOfSymbol.set(name, file)
    for (const field of message.field) this.#fileOfSymbol.set(`${name}.${field.name}`, file)
    for (const each of message.enumType) this.#fileOfSymbol.set(`${name}.${each.name}`, file)
    for (const nested of message.nestedType) this.#addMessage(file, `${name}.`, nested)
    this.#addExtensions(file, `${name}.`, message)
  }

  #addExtensions(file: string, scope: string, owner: Pick<DescriptorProto, 'extension'>): void {
    for (const { name, extendee = '', number = 0 } of owner.extension) {
      this.#fileOfSymbol.set(`${scope}${name}`, file)
      const type = extendee.replace(/^\./, '')
      const known = this.#extensions.get(type) ?? new Map<number, string>()
      this.#extensions.set(type, known.set(number, file))
    }
  }
}

/** The descriptor set of this build: gen/descriptors.binpb. */
export function loadDescriptors(): Descriptors {
  return new Descriptors(readFileSync(new URL('gen/descriptors.binpb', packageRoot)))
}

function filesOf(descriptorSet: Uint8Array): Uint8Array[] {
  const reader = new BinaryReader(descriptorSet)
  const files: Uint8Array[] = []
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag()
    if (field === 1 && wireType === WireType.LengthDelimited) files.push(reader.bytes())
    else reader.skip(wireType, field)
  }
  return files
}
