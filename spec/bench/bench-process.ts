import type { BenchModule, Measure, Mode } from './measure.ts'
import { answer } from './worker.ts'

const verbs = answer({ measure })
export type BenchVerbs = typeof verbs

async function measure({ bench, mode }: { bench: string; mode: Mode }): Promise<Measure[]> {
  const module = (await import(`./${bench}.bench.js`)) as BenchModule
  return await module.measure(mode)
}
