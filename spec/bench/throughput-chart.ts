import { numberOf } from './figure.ts'
import { logScale, ticksWithin } from './log-scale.ts'
import type { Measure } from './measure.ts'
import { type Colour, dot, gridLine, label, line, svg } from './svg.ts'

const WIDTH = 640
const HEIGHT = 300
const PLOT = { left: 56, right: 616, top: 74, bottom: 248 }
/** The ends of the lines stay clear of the edges. */
const INSET = 24

interface Series {
  readonly name: string
  readonly colour: Colour
  readonly points: readonly (readonly [hosts: number, ratio: number])[]
}

/** Requests per second against plain Express, by number of vhosts; both axes are logarithmic. */
export function throughputChart(measures: readonly Measure[]): string {
  const rows = measures.filter(({ unit, hosts }) => unit === '×' && hosts !== undefined)
  const series = [
    seriesOf('express-van', 'one', rows, ({ ours }) => numberOf(ours)),
    seriesOf('vhost', 'two', rows, ({ beside }) => numberOf(beside.vhost)),
    seriesOf('express-vhost', 'three', rows, ({ beside }) => numberOf(beside['express-vhost'])),
  ]
  const hosts = rows.map(row => row.hosts as number)
  const ratios = series.flatMap(({ points }) => points.map(([, ratio]) => ratio))
  const x = logScale([Math.min(...hosts), Math.max(...hosts)], [PLOT.left + INSET, PLOT.right - INSET])
  const bounds = [10 ** Math.floor(Math.log10(Math.min(...ratios, 0.1))), Math.max(1, ...ratios)] as const
  const y = logScale(bounds, [PLOT.bottom, PLOT.top])
  const title = 'Requests per second against the same app in plain Express'
  return svg(WIDTH, HEIGHT, `${title}, by number of vhosts`, [
    label(16, 26, title, 'title'),
    ...series.flatMap(({ name, colour }, index) => [
      dot(22 + 150 * index, 48, colour),
      label(32 + 150 * index, 52, name),
    ]),
    ...ticksWithin(bounds).flatMap(tick => [
      gridLine(PLOT.left, y(tick), PLOT.right, y(tick)),
      label(PLOT.left - 8, y(tick) + 4, String(tick), 'quiet', 'end'),
    ]),
    ...hosts.map(count => label(x(count), PLOT.bottom + 22, count.toLocaleString('en'), 'quiet', 'middle')),
    label((PLOT.left + PLOT.right) / 2, PLOT.bottom + 42, 'vhosts', 'quiet', 'middle'),
    ...series.flatMap(({ points, colour }) => {
      const places = points.map(([count, ratio]) => [x(count), y(ratio)] as const)
      return [line(places, colour), ...places.map(([left, top]) => dot(left, top, colour))]
    }),
  ])
}

function seriesOf(
  name: string,
  colour: Colour,
  rows: readonly Measure[],
  ratioOf: (row: Measure) => number | undefined,
): Series {
  const points = rows.flatMap(row => {
    const ratio = ratioOf(row)
    return ratio === undefined ? [] : [[row.hosts as number, ratio] as const]
  })
  const missing = points.length < rows.length ? ' (in part not measured)' : ''
  return { name: name + missing, colour, points }
}
