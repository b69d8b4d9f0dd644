import type { Figure } from './figure.ts'

/** How long a bench may take: `check` guards against decay, `full` is for a quiet hour. */
export type Mode = 'check' | 'short' | 'full'

export type Unit = 'ns' | 'µs' | 'ms' | 'KB' | 'MB' | '%' | 'ms/s' | '×' | 'answers' | 'flips'

/** One line of the table. */
export interface Measure {
  /** Says with the bench's name what was measured, and how much of it. */
  readonly name: string
  readonly unit: Unit
  readonly ours: Figure
  /** The same of others. */
  readonly beside: Readonly<Record<string, Figure>>
  /** Ours is to be no more than this. */
  readonly limit?: number
  /** Ours is to be no less than this. */
  readonly least?: number
  /** Which of `beside` costs more where the machine is slower: what a decay is measured by. */
  readonly yardstick?: string
  readonly note?: string
  /** Where a measure is taken at several numbers of hosts. */
  readonly hosts?: number
}

/** What a file `<name>.bench.ts` exports. */
export interface BenchModule {
  measure(mode: Mode): Promise<Measure[]>
}

export function namedCount(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`
}
