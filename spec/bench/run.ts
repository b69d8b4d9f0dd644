import { parseArgs } from 'node:util'
import { chooseBenches } from './benches.ts'
import { seekCalm } from './calm.ts'
import { comparedWith } from './decay.ts'
import { describeMachine, lineOf, loadNow } from './machine.ts'
import type { Measure, Mode } from './measure.ts'
import { RESULTS_FILE, readResults, writeResults } from './results.ts'
import { runBench } from './run-bench.ts'
import { HEADING, tableOf } from './table.ts'

/**
 * Runs the benches whose names contain one of the arguments. Without arguments runs all of them and, unless `--check`
 * is given, records the run.
 */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      full: { type: 'boolean', default: false },
      /** Fails if a bench takes far longer than recorded, relative to its yardstick. */
      check: { type: 'boolean', default: false },
    },
  })
  const names = chooseBenches(positionals)
  const mode = values.check ? 'check' : values.full ? 'full' : 'short'
  const [start, loadBefore] = [performance.now(), loadNow()]
  console.log(HEADING)
  await seekCalm()
  const benches = await runAll(names, mode)
  const machine = describeMachine(loadBefore)
  console.log(`${lineOf(machine)}; ${Math.round((performance.now() - start) / 1000)} s`)
  if (values.check) check(benches)
  else if (positionals.length === 0) record()
  if (Object.values(benches).flat().some(isUnmeasured)) process.exitCode = 1

  function record(): void {
    writeResults({ machine, mode, benches })
    console.log(`recorded in ${RESULTS_FILE}; \`npm run bench:readme\` puts it into README`)
  }
}

async function runAll(names: readonly string[], mode: Mode): Promise<Record<string, Measure[]>> {
  const benches: Record<string, Measure[]> = {}
  for (const name of names) {
    benches[name] = await runBench(name, mode)
    console.log(tableOf(name, benches[name]))
  }
  return benches
}

function check(benches: Readonly<Record<string, readonly Measure[]>>): void {
  const recorded = readResults().benches
  const comparisons = Object.entries(benches).flatMap(([bench, measures]) =>
    comparedWith(recorded[bench], measures).map(comparison => ({ bench, ...comparison })),
  )
  for (const { bench, name, ratio, recorded: before, isDecayed } of comparisons) {
    const word = isDecayed ? 'DECAYED' : 'as fast'
    console.log(`${word}: ${bench}, ${name}: ${ratio.toFixed(1)} yardsticks, recorded ${before.toFixed(1)}`)
  }
  if (comparisons.length === 0) console.log('nothing was recorded that this could be compared with')
  if (comparisons.length === 0 || comparisons.some(({ isDecayed }) => isDecayed)) process.exitCode = 1
}

function isUnmeasured({ ours }: Measure): boolean {
  return 'reason' in ours
}

await main().catch((error: Error) => {
  console.error(`bench: ${error.message}`)
  process.exitCode = 1
})
