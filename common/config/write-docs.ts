/** Writes what is made from the configuration schemas into docs/. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { packageRoot } from '../version.js'
import { configDocuments } from './documents.js'

for (const [path, content] of configDocuments()) {
  const file = new URL(path, packageRoot)
  mkdirSync(new URL('.', file), { recursive: true })
  writeFileSync(file, content)
}
