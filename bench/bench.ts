/** What a benchmark is and what it yields. One file a benchmark beside this one; the table is index.ts. */

/** What a figure must reach. Missing it makes the run fail. */
export interface Mark {
  readonly value: number
  readonly direction: 'at-least' | 'at-most'
}

export interface Figure {
  readonly name: string
  readonly value: number
  /** Unit of value and mark, such as "events/s", "ms", "MiB". */
  readonly unit: string
  readonly mark?: Mark
  /** Absent: decided from the mark. Given: for figures whose judgement needs more than one number. */
  readonly met?: boolean
}

/** What the figures depend on: cores, sizes, durations, versions. */
export type Conditions = Readonly<Record<string, string | number | boolean>>

export interface BenchResult {
  readonly figures: readonly Figure[]
  readonly conditions: Conditions
}

export interface Bench {
  readonly name: string
  /** One line for --list. */
  readonly about: string
  /** Measures. Throws if it could not (exit code 2); a missed mark is no error. */
  run(): Promise<BenchResult>
}

/** Whether a figure reaches its mark; null if it has none. NaN reaches no mark. */
export const isMet = (figure: Figure): boolean | null => {
  if (figure.met !== undefined) return figure.met
  if (figure.mark === undefined) return null
  return figure.mark.direction === 'at-least'
    ? figure.value >= figure.mark.value
    : figure.value <= figure.mark.value
}
