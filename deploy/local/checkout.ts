/** Where the parts of a built checkout lie. This file is dist/deploy/local/checkout.js when it runs. */
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..', '..')

/** Paths are absolute. */
export const checkout = {
  root,
  node: join(root, 'node_modules', 'node', 'bin', 'node'),
  weed: join(root, '.venv', 'bin', 'weed'),
  python: join(root, '.venv', 'bin', 'python'),
  agent: join(root, 'dist', 'agent', 'src', 'main.js'),
  pulse: join(root, 'dist', 'pulse', 'src', 'main.js'),
  controlplane: join(root, 'dist', 'controlplane', 'src', 'main.js'),
} as const
