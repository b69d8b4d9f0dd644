import type { Figure } from './figure.ts'
import type { Measure } from './measure.ts'

/** More than so many times the recorded ratio is a decay. */
const FACTOR = 2

export interface Comparison {
  readonly name: string
  readonly ratio: number
  readonly recorded: number
  readonly isDecayed: boolean
}

/**
 * Compares what measures cost at the lower quartile, in terms of their yardsticks of the same run, with the recorded run. Those that have no
 * yardstick, or none of whose figures was recorded, are left out.
 */
export function comparedWith(
  recorded: readonly Measure[] | undefined,
  measures: readonly Measure[],
): Comparison[] {
  return measures.flatMap(measure => {
    // The number of flips is part of a name, and differs in the short form.
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

// What else the machine does only ever adds, and to a flip more than to its yardstick: in six runs beside seventeen
// processes on two cores three medians came to more than twice the recorded ratio, of the lower quartiles one.
function lowOf(figure: Figure | undefined): number | undefined {
  return figure && 'low' in figure ? figure.low : undefined
}

function withoutCount(name: string): string {
  return name.replace(/ of [\d,]+ flips$/, '')
}
