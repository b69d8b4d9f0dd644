import type { BenchVerbs } from './bench-process.ts'
import type { Measure, Mode } from './measure.ts'
import { Worker } from './worker.ts'

/** Runs one bench in a process of its own; an error there becomes a figure that could not be measured. */
export async function runBench(bench: string, mode: Mode): Promise<Measure[]> {
  await using worker = new Worker<BenchVerbs>('bench-process')
  try {
    return await worker.ask('measure', { bench, mode })
  } catch (error) {
    const [reason = 'unknown'] = (error as Error).message.split('\n')
    return [{ name: 'the whole bench', unit: '×', ours: { reason }, beside: {} }]
  }
}
