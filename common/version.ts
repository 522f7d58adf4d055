import { readFileSync } from 'node:fs'

/** Where package.json lies, seen from the built file in dist/common. */
export const packageRoot = new URL('../../', import.meta.url)

/** Version of this build, from package.json. */
export const version = readVersion()

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('package.json', packageRoot), 'utf8'))
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) {
    if (typeof manifest.version === 'string') return manifest.version
  }
  throw new Error('package.json has no version')
}
