import type { Figure } from './figure.ts'
import type { Measure } from './measure.ts'

/** A ratio more than this many times the recorded one is a decay. */
const FACTOR = 2

export interface Comparison {
  readonly name: string
  readonly ratio: number
  readonly recorded: number
  readonly isDecayed: boolean
}

/**
 * Compares the lower quartiles of measures, relative to their yardsticks of the same run, with the recorded run.
 * Measures without a yardstick, or without a recorded figure, are left out.
 */
export function comparedWith(
  recorded: readonly Measure[] | undefined,
  measures: readonly Measure[],
): Comparison[] {
  return measures.flatMap(measure => {
    // The number of flips is part of the name, and differs in the short form.
    const same = recorded?.find(({ name }) => withoutCount(name) === withoutCount(measure.name))
    const [ratio, before] = [ratioOf(measure), same && ratioOf(same)]
    if (ratio === undefined || before === undefined) return []
    return [{ name: measure.name, ratio, recorded: before, isDecayed: ratio > FACTOR * before }]
  })
}

function ratioOf({ ours, beside, yardstick }: Measure): number | undefined {
  if (yardstick === undefined) return undefined
  const [value, unit] = [lowOf(ours), lowOf(beside[yardstick])]
  return value === undefined || unit === undefined || unit <= 0 ? undefined : value / unit
}

// Other work on the machine only ever adds, and to a flip more than to its yardstick: in six runs beside seventeen
// processes on two cores, three medians came to more than twice the recorded ratio, but only one lower quartile.
function lowOf(figure: Figure | undefined): number | undefined {
  return figure && 'low' in figure ? figure.low : undefined
}

function withoutCount(name: string): string {
  return name.replace(/ of [\d,]+ flips$/, '')
}
