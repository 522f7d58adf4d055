/** What an end-to-end suite is. One file a suite in suites/; the table is suites/index.ts. */

/** Thrown when a suite cannot be run here at all (missing program, no root): exit code 2, never a pass. */
export class CannotRun extends Error {
  override readonly name = 'CannotRun'
}

export interface SuiteContext {
  /** False: the short form, part of npm test. True: the long one. */
  readonly full: boolean
  /**
   * Runs one cell and records its outcome; a cell that throws has failed, and the suite goes on.
   * @param check Returns a short detail for the table, or nothing.
   * @returns Whether it passed, for cells that make no sense without an earlier one.
   */
  cell(name: string, check: () => Promise<string | undefined> | string | undefined): Promise<boolean>
}

export interface Suite {
  readonly name: string
  /** One line for --list. */
  readonly about: string
  /** Starts what it needs, checks cells, and stops everything it started even when it fails. */
  run(context: SuiteContext): Promise<void>
}
