import { numberOf } from './figure.ts'
import type { Measure } from './measure.ts'

/** Whether a measure meets its target; undefined if it has none. */
export function verdictOf({ ours, limit, least }: Measure): 'met' | 'missed' | 'not measured' | undefined {
  if (limit === undefined && least === undefined) return undefined
  const value = numberOf(ours)
  if (value === undefined) return 'not measured'
  return value <= (limit ?? Infinity) && value >= (least ?? -Infinity) ? 'met' : 'missed'
}
