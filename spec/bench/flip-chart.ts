import { type Figure, numberOf } from './figure.ts'
import { logScale, ticksWithin } from './log-scale.ts'
import type { Measure, Unit } from './measure.ts'
import { bar, type Colour, gridLine, label, svg } from './svg.ts'
import { inShort } from './wording.ts'

const WIDTH = 640
const TOP = 48
const ROW = 34
const BAR = 18
const TICK = 5
const PLOT = { left: 206, right: 540 }

interface Bar {
  readonly name: string
  readonly colour: Colour
  readonly value: number
  readonly text: string
}

/** The time from the flip of a symlink to the first answer of the new release, on a logarithmic axis. */
export function flipChart(measures: readonly Measure[]): string {
  const bars = barsOf(measures)
  const values = bars.map(({ value }) => value)
  const bounds = [10 ** Math.floor(Math.log10(Math.min(1, ...values))), Math.max(1000, ...values)] as const
  const x = logScale(bounds, [PLOT.left, PLOT.right])
  const bottom = TOP + ROW * bars.length
  const title = 'From the flip of a symlink to the first new answer, median'
  return svg(WIDTH, bottom + 32, title, [
    label(16, 26, title, 'title'),
    ...ticksWithin(bounds).flatMap(tick => [
      // The line ends before the figures beside the bars.
      gridLine(x(tick), bottom, x(tick), bottom + TICK),
      label(x(tick), bottom + 21, `${tick.toLocaleString('en')} ms`, 'quiet', 'middle'),
    ]),
    gridLine(PLOT.left, bottom, PLOT.right, bottom),
    ...bars.flatMap(({ name, colour, value, text }, row) => {
      const top = TOP + ROW * row + (ROW - BAR) / 2
      return [
        label(PLOT.left - 10, top + BAR - 4, name, '', 'end'),
        bar(PLOT.left, top, x(value) - PLOT.left, BAR, colour),
        label(x(value) + 8, top + BAR - 4, text),
      ]
    }),
  ])
}

function barsOf(measures: readonly Measure[]): Bar[] {
  const medians = measures.filter(({ name }) => !name.includes('percentile'))
  const ours = medians.flatMap(({ name, unit, ours: figure }) => {
    const label = name.includes('watch: false') ? 'express-van, polling' : 'express-van'
    return barOf(label, 'one', figure, unit)
  })
  const peers = medians.flatMap(({ beside, unit }) =>
    // Figures of the same run are not peers, but the least that anybody needs.
    Object.entries(beside).flatMap(([name, figure]) =>
      'recorded' in figure ? barOf(name, 'two', figure, unit) : [],
    ),
  )
  return [...ours, ...peers]
}

function barOf(name: string, colour: Colour, figure: Figure, unit: Unit): Bar[] {
  const value = numberOf(figure)
  return value === undefined ? [] : [{ name, colour, value, text: inShort(figure, unit) }]
}
