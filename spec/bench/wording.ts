import type { Figure } from './figure.ts'
import type { Measure, Unit } from './measure.ts'

/** A figure in words, with its quartiles if there are several samples. */
export function inWords(figure: Figure, unit: Unit): string {
  if ('reason' in figure) return `not measured: ${figure.reason}`
  if ('recorded' in figure) return withUnit(figure.recorded, unit)
  const value = withUnit(figure.value, unit)
  if (figure.samples < 2) return value
  // A maximum lies outside the quartiles, which would look like a mistake.
  const isMedian = figure.low <= figure.value && figure.value <= figure.high
  return `${value} (${isMedian ? '' : 'quartiles '}${shortened(figure.low)} to ${shortened(figure.high)})`
}

/** A figure in few words. */
export function inShort(figure: Figure, unit: Unit): string {
  if ('reason' in figure) return 'not measured'
  return withUnit('recorded' in figure ? figure.recorded : figure.value, unit)
}

export function targetOf({ limit, least, unit }: Measure): string {
  if (least !== undefined) return `≥ ${withUnit(least, unit)}`
  if (limit === undefined) return ''
  return limit === 0 ? '0' : `≤ ${withUnit(limit, unit)}`
}

function withUnit(value: number, unit: Unit): string {
  if (unit === 'answers' || unit === 'flips') return shortened(value)
  return `${shortened(value)} ${unit}`
}

function shortened(value: number): string {
  const size = Math.abs(value)
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2
  // Adding 0 turns the -0 of a value hardly below zero into 0.
  return (Number(value.toFixed(digits)) + 0).toLocaleString('en')
}
