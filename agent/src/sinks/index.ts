export { MemorySink } from './memory.js'
export { StdoutSink, type StdoutSinkStats } from './stdout.js'
