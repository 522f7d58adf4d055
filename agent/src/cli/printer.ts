import type { CaptureStats } from '../bpf/capture.js'
import type { ConnectionStats } from '../connections/index.js'
import type { Exchange } from '../exchange/exchange.js'
import { exchangeJson } from './exchange-json.js'
import { bodyLines, columnTitles, exchangeLine } from './exchange-line.js'
import type { LineOutput } from './line-output.js'
import type { OutputOptions } from './options.js'
import { formatBytes } from './quantities.js'

/** Prints exchanges in the chosen form. */
export class Printer {
  readonly #output: LineOutput
  readonly #options: OutputOptions
  readonly #color: boolean
  #begun = false

  constructor(output: LineOutput, options: OutputOptions, color: boolean) {
    this.#output = output
    this.#options = options
    this.#color = color
  }

  /** Writes the line of column titles, where the form has one; the first exchange does it too. */
  begin(): void {
    if (this.#begun) return
    this.#begun = true
    if (this.#options.headers && !this.#options.json) this.#output.write(columnTitles)
  }

  print(exchange: Exchange): void {
    const { json, maxBody } = this.#options
    this.begin()
    if (json) {
      this.#output.write(exchangeJson(exchange, maxBody))
      return
    }
    this.#output.write(exchangeLine(exchange, this.#color))
    if (maxBody > 0) for (const line of bodyLines(exchange, maxBody)) this.#output.write(line)
  }
}

/** Such as "3 exchanges on 2 connections, 4.2KiB seen, 0B lost". */
export function summary({ exchanges, opened, bytesSeen, bytesLost }: ConnectionStats): string {
  const seen = `${formatBytes(bytesSeen)} seen, ${formatBytes(bytesLost)} lost`
  return `${counted(exchanges, 'exchange')} on ${counted(opened, 'connection')}, ${seen}`
}

/** Such as "watching 3 TLS libraries among 12 processes". */
export function coverageLine({ libraries, processes }: CaptureStats): string {
  const among = counted(processes, 'process', 'processes')
  return `watching ${counted(libraries, 'TLS library', 'TLS libraries')} among ${among}`
}

function counted(count: number, singular: string, plural = `${singular}s`): string {
  return `${count} ${count === 1 ? singular : plural}`
}
