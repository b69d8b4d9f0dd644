import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { formatTable } from '../../lib/cli/table.ts'

const LONG = [...'abc']
  .map(letter => letter.repeat(63))
  .join('.')
  .concat('.', 'd'.repeat(61))
const HEAD = ['HOST', 'STATE', 'RELEASE', 'COUNT', 'LOAD']

describe('formatTable()', () => {
  it('gives each column the room it needs, and aligns numbers right', () => {
    assert.equal(
      formatTable(
        ['HOST', 'N', 'STATE'],
        [
          ['a.test', 5, 'serving'],
          ['longer.test', 12, '-'],
        ],
      ),
      'HOST          N  STATE\na.test        5  serving\nlonger.test  12  -',
    )
    assert.equal(formatTable(['HOST', 'N'], []), 'HOST  N')
  })

  it('fits a terminal: drops spare columns, in the order given', () => {
    const rows = [
      ['a.test', 'serving older', `/srv/${'x'.repeat(300)}/releases/2`, 1, '1 ms'],
      [LONG, 'serving', '/srv/a', 1_000_000, '-'],
    ]
    const spare = ['LOAD', 'COUNT', 'RELEASE']
    for (const [width, titles] of [
      [200, HEAD],
      [76, ['HOST', 'STATE', 'RELEASE', 'COUNT']],
      [70, ['HOST', 'STATE', 'RELEASE']],
      [40, ['HOST', 'STATE']],
    ] as const) {
      const lines = formatTable(HEAD, rows, { width, spare }).split('\n')
      assert.deepEqual(lines[0]?.split(/ +/), titles, `${width}`)
      for (const line of lines) assert.ok(line.length <= width, line)
    }
    const [, first = '', second = ''] = formatTable(HEAD, rows, { width: 80, spare }).split('\n')
    assert.match(first, / …x+\/releases\/2 /)
    assert.match(second, /^a+…d+ /)
  })

  it('keeps a cell in its row', () => {
    assert.equal(formatTable(['HOST'], [['aries.test\nleo.test']]), 'HOST\naries.test leo.test')
  })

  it('shows everything if the width of a line is unknown', () => {
    assert.ok(formatTable(['HOST'], [[LONG]], { width: undefined, spare: ['HOST'] }).includes(LONG))
  })
})
