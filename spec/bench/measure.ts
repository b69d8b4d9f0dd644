import type { Figure } from './figure.ts'

/** How long a bench may take: `check` guards against decay, `full` is for a quiet hour. */
export type Mode = 'check' | 'short' | 'full'

export type Unit = 'ns' | 'µs' | 'ms' | 'KB' | 'MB' | '%' | 'ms/s' | '×' | 'answers' | 'flips'

/** One line of the table. */
export interface Measure {
  /** With the bench's name, says what was measured and how much of it. */
  readonly name: string
  readonly unit: Unit
  readonly ours: Figure
  /** The same for others. */
  readonly beside: Readonly<Record<string, Figure>>
  /** Ours should be no more than this. */
  readonly limit?: number
  /** Ours should be no less than this. */
  readonly least?: number
  /** Which of `beside` gets slower with the machine, and so is what a decay is measured by. */
  readonly yardstick?: string
  readonly note?: string
  /** The number of hosts, if a measure is taken at several. */
  readonly hosts?: number
}

/** What a file `<name>.bench.ts` exports. */
export interface BenchModule {
  measure(mode: Mode): Promise<Measure[]>
}

export function namedCount(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`
}
