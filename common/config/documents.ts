import { type ConfiguredService, configJsonSchema, configSchemas } from './json-schema.js'
import { configReference } from './reference.js'

/** The documents that are made from the schemas: path from the package's root to content. */
export function configDocuments(): ReadonlyMap<string, string> {
  const documents = new Map([['docs/configuration.md', configReference()]])
  for (const service of Object.keys(configSchemas) as ConfiguredService[]) {
    const schema = JSON.stringify(configJsonSchema(service), null, 2)
    documents.set(`docs/schema/${service}.schema.json`, `${schema}\n`)
  }
  return documents
}
