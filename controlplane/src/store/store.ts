/** The control database: everything that the control plane remembers. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { AgentStore } from './agents.js'
import { AttemptStore } from './attempts.js'
import { RevisionStore } from './revisions.js'
import { openSqlite } from './sqlite.js'

export interface ControlStore {
  readonly agents: AgentStore
  readonly revisions: RevisionStore
  readonly attempts: AttemptStore
  close(): Promise<void>
}

/**
 * Opens the database in the directory, which is made if absent.
 * @param now milliseconds since the Unix epoch.
 */
export async function openControlStore(dataDir: string, now: () => number = Date.now): Promise<ControlStore> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const db = await openSqlite(join(dataDir, 'control.db'))
  const agents = new AgentStore(db, now)
  await agents.disconnectAll()
  return {
    agents,
    revisions: new RevisionStore(db, now),
    attempts: new AttemptStore(db, now),
    close: () => db.destroy(),
  }
}
