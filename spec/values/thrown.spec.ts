import assert from 'node:assert/strict'
import { join, sep } from 'node:path'
import { describe, it } from 'node:test'
import { placeOf } from '../../lib/values/thrown.ts'

describe('placeOf()', () => {
  const folder = join(sep, 'www', 'aries (new).test')
  const at = (file: string): string => join(folder, file)

  for (const [what, stack, place] of [
    [
      'of CommonJS',
      `Error: boom\n    at load (${at('app/index.js')}:3:7)\n    at main (${at('app/x.js')}:1:1)`,
      3,
    ],
    ['of an ES module', `Error: boom\n    at file://${at('app/index.js')}?express-van=6.js:3:7`, 3],
    [
      'that V8 cannot parse',
      `${at('app/index.js')}:12\nconst 1\n\nSyntaxError: no\n    at wrapSafe (node:x:1:1)`,
      12,
    ],
    [
      'behind frames elsewhere, and a message that names a file',
      `Error: no 'x'\n- ${at('app/other.js')}\n    at other (${sep}lib${sep}x.js:9:9)\n    at ${at('app/index.js')}:4:1`,
      4,
    ],
  ] as const) {
    it(`gives the place ${what}`, () => {
      assert.equal(placeOf({ stack }, folder), `${at('app/index.js')}:${place}`)
    })
  }

  it('gives undefined if there is no place below the folder, or no stack', () => {
    for (const thrown of [
      undefined,
      'text',
      { stack: 7 },
      { stack: `Error\n    at ${sep}www${sep}leo.test:1:1` },
    ])
      assert.equal(placeOf(thrown, folder), null)
  })
})
