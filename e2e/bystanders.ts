/** Other programs of this machine, for suites that ask what is captured and not how much. */
import { readdir, realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { sep } from 'node:path'

/**
 * Entries for capture.ignore.exe that leave alone every program whose executable does not lie below the same top
 * directory as temporary files do, so that what others do on this machine cannot fill the agent's ring.
 */
export const programsOutsideTmp = async (): Promise<readonly string[]> => {
  const [, top] = (await realpath(tmpdir())).split(sep)
  const names = await readdir('/')
  return names.filter((name) => name !== top).map((name) => `/${name}/`)
}
