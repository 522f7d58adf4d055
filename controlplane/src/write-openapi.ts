/** Program: writes the OpenAPI document of this build to the file that its one argument names. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { controlplaneConfigSchema } from '../../common/config/schema.js'
import { createLogger } from '../../common/log.js'
import { startControlPlane } from './control-plane.js'

const file = process.argv[2]
if (file === undefined) throw new Error('expected the name of the file to write, such as docs/openapi.json')
const directory = await mkdtemp(join(tmpdir(), 'cleartap-openapi-'))
try {
  const config = controlplaneConfigSchema.parse({
    data_dir: directory,
    listen: '127.0.0.1:0',
    http: { listen: '127.0.0.1:0' },
  })
  const logger = createLogger('controlplane', { level: 'error', format: 'text' })
  const controlPlane = await startControlPlane({ config, env: {}, logger, pageDirectory: directory })
  const response = await fetch(`http://${controlPlane.httpAddress}/api/v1/openapi.json`)
  await writeFile(file, `${JSON.stringify(await response.json(), null, 2)}\n`)
  await controlPlane.stop()
} finally {
  await rm(directory, { recursive: true, force: true })
}
