/** Colours by class, for light and dark pages; an SVG in an `<img>` follows its reader's preference. */
const STYLE = `
    text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
    .title { font-weight: 600; font-size: 14px }
    .quiet { fill: #59636e }
    .grid { stroke: #d1d9e0; stroke-width: 1 }
    .one { stroke: #0969da; fill: #0969da }
    .two { stroke: #bc4c00; fill: #bc4c00 }
    .three { stroke: #1a7f37; fill: #1a7f37 }
    .line { fill: none; stroke-width: 2 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .quiet { fill: #9198a1 }
      .grid { stroke: #3d444d }
      .one { stroke: #4493f8; fill: #4493f8 }
      .two { stroke: #f0883e; fill: #f0883e }
      .three { stroke: #3fb950; fill: #3fb950 }
      .line { fill: none }
    }`

export type Colour = 'one' | 'two' | 'three'

/** A whole picture; `label` describes it to those who cannot see it. */
export function svg(width: number, height: number, label: string, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(label)}">`,
    `  <style>${STYLE}\n  </style>`,
    ...parts.map(part => `  ${part}`),
    '</svg>\n',
  ].join('\n')
}

export function label(x: number, y: number, content: string, classes = '', anchor = 'start'): string {
  return `<text x="${short(x)}" y="${short(y)}" class="${classes}" text-anchor="${anchor}">${escaped(content)}</text>`
}

export function gridLine(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${short(x1)}" y1="${short(y1)}" x2="${short(x2)}" y2="${short(y2)}" class="grid"/>`
}

export function bar(x: number, y: number, width: number, height: number, colour: Colour): string {
  return `<rect x="${short(x)}" y="${short(y)}" width="${short(width)}" height="${short(height)}" rx="2" class="${colour}"/>`
}

export function line(points: readonly (readonly [number, number])[], colour: Colour): string {
  return `<polyline points="${points.map(point => point.map(short).join(',')).join(' ')}" class="${colour} line"/>`
}

export function dot(x: number, y: number, colour: Colour): string {
  return `<circle cx="${short(x)}" cy="${short(y)}" r="4" class="${colour}"/>`
}

function escaped(content: string): string {
  return content.replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`)
}

function short(value: number): string {
  return String(Math.round(value * 10) / 10)
}
