import { flipChart } from './flip-chart.ts'
import { withSection } from './readme-section.ts'
import type { Results } from './results.ts'
import { throughputChart } from './throughput-chart.ts'

/** The files that show a recorded run, and what they must contain. */
export function madeFrom(results: Results, readme: string): [file: string, content: string][] {
  const { http = [], flip = [] } = results.benches
  return [
    ['README.md', withSection(readme, results)],
    ['spec/bench/throughput.svg', throughputChart(http)],
    ['spec/bench/flip.svg', flipChart(flip)],
  ]
}
