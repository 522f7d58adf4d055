/** Steps that run only when their inputs changed: the hash of the inputs is kept in a file beside the output. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './run.mjs'

const skipped = new Set(['node_modules', 'dist', 'build', '.git'])

/** All files below a path of the checkout, relative to it and sorted; the path itself if it is a file. */
export const listFiles = (path) => {
  const absolute = join(root, path)
  if (!existsSync(absolute)) return []
  try {
    return readdirSync(absolute, { withFileTypes: true })
      .filter((entry) => !skipped.has(entry.name))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .flatMap((entry) => {
        const below = join(path, entry.name)
        return entry.isDirectory() ? listFiles(below) : [below]
      })
  } catch (error) {
    if (error.code === 'ENOTDIR') return [path]
    throw error
  }
}

const hashInputs = (files, extra) => {
  const hash = createHash('sha256').update(extra)
  for (const file of files) {
    const content = readFileSync(join(root, file))
    hash.update(`\n${file} ${content.length}\n`).update(content)
  }
  return hash.digest('hex')
}

/**
 * Runs action unless the stamp says that it ran with the same inputs and every output is there.
 * The stamp is written only after action returned.
 */
export const whenChanged = ({ stamp, inputs, extra = '', outputs }, action) => {
  const path = join(root, stamp)
  const wanted = hashInputs(inputs, extra)
  const current = existsSync(path) ? readFileSync(path, 'utf8') : ''
  if (current === wanted && outputs.every((output) => existsSync(join(root, output)))) return
  action()
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, wanted)
}
