/** From kernel events to exchanges: give a ConnectionTable every BpfEvent, and a tick each second. */
export { BootClock } from './boot-clock.js'
export { type ConnectionStats, ConnectionTable, type ConnectionTableOptions } from './table.js'
