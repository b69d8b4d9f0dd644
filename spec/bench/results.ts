import { readFileSync, writeFileSync } from 'node:fs'
import type { Machine } from './machine.ts'
import type { Measure, Mode } from './measure.ts'

/** The recorded run, which README shows. */
export const RESULTS_FILE = 'spec/bench/results.json'

/** The results of benches, by the name of the bench. */
export interface Results {
  readonly machine: Machine
  readonly mode: Mode
  readonly benches: Readonly<Record<string, readonly Measure[]>>
}

export function readResults(file: string = RESULTS_FILE): Results {
  return JSON.parse(readFileSync(file, 'utf8')) as Results
}

export function writeResults(results: Results, file: string = RESULTS_FILE): void {
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`)
}
