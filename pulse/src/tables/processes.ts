/** The process columns that every event table has, with the agent before them: one piece of a row a process. */
import type { Process } from '../../../gen/cleartap/event/v1/event.js'
import { type Column, NAME_TEXT, SHORT_TEXT } from './columns.js'
import { PROCESS } from './event-slots.js'

const process: readonly Column[] = [
  { name: 'pid', slot: PROCESS.pid, encoding: { kind: 'u32' } },
  { name: 'process_start_ns', slot: PROCESS.start_boottime_nano, encoding: { kind: 'u64' } },
  { name: 'parent_pid', slot: PROCESS.parent_pid, encoding: { kind: 'u32' } },
  { name: 'uid', slot: PROCESS.uid, encoding: { kind: 'u32' } },
  { name: 'user', slot: PROCESS.user, encoding: SHORT_TEXT },
  { name: 'comm', slot: PROCESS.comm, encoding: SHORT_TEXT },
  { name: 'exe', slot: PROCESS.exe, encoding: NAME_TEXT },
  { name: 'container_id', slot: PROCESS.container_id, encoding: SHORT_TEXT },
  { name: 'cgroup', slot: PROCESS.cgroup, encoding: NAME_TEXT },
]

/** Columns filled from a Process, in order. */
export const processColumns = process

/** Names of all columns that the piece fills. */
export const PROCESS_PIECE: readonly string[] = [
  'agent_id',
  'agent_host',
  ...process.map((column) => column.name),
]

/** What reading back selects, in the order that processFromRow takes. */
export const processSelect: readonly string[] = process.map((column) => column.name)

/** A Process from the values of processSelect. */
export function processFromRow(row: readonly unknown[]): Process {
  return {
    pid: Number(row[0]),
    startBoottimeNano: BigInt(String(row[1])),
    parentPid: Number(row[2]),
    uid: Number(row[3]),
    user: String(row[4]),
    comm: String(row[5]),
    exe: String(row[6]),
    containerId: String(row[7]),
    cgroup: String(row[8]),
  }
}
