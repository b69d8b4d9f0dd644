const SVG = 'http://www.w3.org/2000/svg'
/** As many as the server keeps. */
const MAX_SAMPLES = 150

function makeChart(width: number, height: number): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`)
  svg.setAttribute('width', String(width))
  svg.setAttribute('height', String(height))
  svg.setAttribute('role', 'img')
  svg.append(document.createElementNS(SVG, 'polyline'))
  return svg
}

/** Draws requests per second, the latest at the right edge. */
function drawChart(svg: SVGSVGElement, rates: readonly number[]): void {
  const { width, height } = svg.viewBox.baseVal
  const highest = Math.max(1, ...rates)
  const points = rates.map((rate, i) => {
    const x = width - ((rates.length - 1 - i) / (MAX_SAMPLES - 1)) * width
    return `${x.toFixed(1)},${(height - 1 - (rate / highest) * (height - 2)).toFixed(1)}`
  })
  svg.firstElementChild?.setAttribute('points', points.join(' '))
  const now = rates.at(-1) ?? 0
  svg.setAttribute('aria-label', `${now} requests a second now, at most ${Math.max(0, ...rates)} lately`)
}
