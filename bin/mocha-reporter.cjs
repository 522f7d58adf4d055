/** mocha's spec reporter; with --reporter-option counts=FILE it also writes the counts there as JSON. */
const { writeFileSync } = require('node:fs')
const { Runner, reporters } = require('mocha')

module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options)
    const path = options?.reporterOptions?.counts
    if (path === undefined) return
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = this.stats
      writeFileSync(path, JSON.stringify({ passes, failures, pending }))
    })
  }
}
