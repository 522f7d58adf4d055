/** Long fuzzing by hand: node dist/agent/src/protocols/http1/fuzz-main.js COUNT [FIRST_SEED] */
import { readFixtures } from './fixtures.js'
import { fuzzOnce } from './fuzz.js'

const [count = '', firstSeed = '1'] = process.argv.slice(2)
if (!/^\d+$/.test(count) || !/^\d+$/.test(firstSeed)) {
  process.stderr.write('usage: fuzz-main.js COUNT [FIRST_SEED], both whole numbers\n')
  process.exit(2)
}
const fixtures = readFixtures()
const first = Number(firstSeed)
for (let seed = first; seed < first + Number(count); seed++) {
  try {
    fuzzOnce(fixtures, seed)
  } catch (cause) {
    throw new Error(`seed ${seed}`, { cause })
  }
}
process.stdout.write(`${count} conversations without a fault\n`)
