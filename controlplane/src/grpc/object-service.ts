/** ObjectService: signs access to objects. */
import { Status } from 'nice-grpc'
import { rpcError } from '../../../common/grpc-error.js'
import type { ObjectServiceImplementation } from '../../../gen/cleartap/controlplane/v1/objects.js'
import type { ObjectSigner } from '../objects/signer.js'
import { minValidForSeconds } from '../objects/signer.js'

export function createObjectService(signer: ObjectSigner): ObjectServiceImplementation {
  return {
    async getDownloadUrl(request) {
      const { store, key, validFor } = request
      const validForSeconds = validFor ? Number(validFor.seconds) + validFor.nanos / 1e9 : minValidForSeconds
      const outcome = await signer.sign(store, key, validForSeconds)
      switch (outcome.kind) {
        case 'signed':
          return { url: outcome.url, expiresAt: { seconds: BigInt(outcome.expiresAtMs / 1000), nanos: 0 } }
        case 'unknown_store':
          throw rpcError(Status.NOT_FOUND, 'STORE_UNKNOWN', outcome.message, {
            resource: { type: 'store', name: store.slice(0, 200) },
          })
        case 'invalid':
          throw rpcError(Status.INVALID_ARGUMENT, 'INVALID_MESSAGE', outcome.message, {
            badRequest: [{ field: outcome.field, description: outcome.message }],
          })
      }
    },
  }
}
