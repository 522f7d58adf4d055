/** Server reflection, v1 and v1alpha: the two differ in their package name only. */
import { Status } from 'nice-grpc'
import type {
  DeepPartial,
  ServerReflectionRequest,
  ServerReflectionResponse,
  ServerReflectionServiceImplementation,
} from '../gen/grpc/reflection/v1/reflection.js'
import type { Descriptors } from './descriptors.js'

type MessageResponse = NonNullable<ServerReflectionResponse['messageResponse']>

/** Answers from the descriptor set; lists the given services by full name. */
export function createReflectionService(
  services: readonly string[],
  descriptors: Descriptors,
): ServerReflectionServiceImplementation {
  return {
    async *serverReflectionInfo(requests): AsyncGenerator<DeepPartial<ServerReflectionResponse>> {
      for await (const request of requests) {
        const messageResponse = respond(request, services, descriptors)
        yield { validHost: request.host, originalRequest: request, messageResponse }
      }
    },
  }
}

function respond(
  { messageRequest: asked }: ServerReflectionRequest,
  services: readonly string[],
  descriptors: Descriptors,
): MessageResponse {
  switch (asked?.$case) {
    case 'listServices':
      return {
        $case: 'listServicesResponse',
        value: { service: services.map((name) => ({ name })) },
      }
    case 'fileByFilename':
      return fileResponse(asked.value, asked.value, descriptors)
    case 'fileContainingSymbol':
      return fileResponse(descriptors.fileOfSymbol(asked.value), asked.value, descriptors)
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = asked.value
      const file = descriptors.fileOfExtension(containingType, extensionNumber)
      return fileResponse(file, `extension ${extensionNumber} of ${containingType}`, descriptors)
    }
    case 'allExtensionNumbersOfType': {
      const extensionNumber = descriptors.extensionNumbers(asked.value)
      if (extensionNumber === undefined) return failure(Status.NOT_FOUND, `not found: ${asked.value}`)
      return {
        $case: 'allExtensionNumbersResponse',
        value: { baseTypeName: asked.value, extensionNumber },
      }
    }
    case undefined:
      return failure(Status.INVALID_ARGUMENT, 'message_request is not set')
  }
}

function fileResponse(file: string | undefined, asked: string, descriptors: Descriptors): MessageResponse {
  const files = file === undefined ? undefined : descriptors.fileWithImports(file)
  if (files === undefined) return failure(Status.NOT_FOUND, `not found: ${asked}`)
  return {
    $case: 'fileDescriptorResponse',
    value: { fileDescriptorProto: files.map((bytes) => Buffer.from(bytes)) },
  }
}

function failure(errorCode: Status, errorMessage: string): MessageResponse {
  return { $case: 'errorResponse', value: { errorCode, errorMessage } }
}
