import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { proveAll } from './prove.ts'
import { type Line, SHAPES } from './shapes.ts'

describe('README has a line', () => {
  const [, table = ''] =
    /## What an app may export\n+(.*?)\n\n/s.exec(readFileSync('README.md', 'utf8')) ?? []
  const rows = table.split('\n').map(row => row.split(' | ').map(cell => cell.replace(/^\| /, '')))
  for (const line of new Set(SHAPES.map(shape => shape.line))) {
    it(`for ${line}, which says what was proved`, () => tellsWhatWasProved(line, rows))
  }
})

function tellsWhatWasProved(line: Line, rows: string[][]): void {
  const [, , unknown, error, webSockets] =
    rows.find(([what]) => what?.startsWith(line)) ?? assert.fail('absent')
  for (const shape of SHAPES.filter(shape => shape.line === line)) {
    // A function or fetch() of a framework may answer unknown paths itself, though its row says next().
    if (shape.unknown === 'outer') assert.equal(unknown, '`next()`', shape.name)
    if (shape.unknown === 'own') assert.match(unknown ?? '', /^its own 404$|next/, shape.name)
    if (shape.error === 'outer') assert.match(error ?? '', /`next\(error\)`$/, shape.name)
    if (shape.server === undefined) assert.equal(webSockets, 'exported `upgrade`', shape.name)
    else assert.match(webSockets ?? '', /^its own$|erver/, shape.name)
  }
}

proveAll('none')
