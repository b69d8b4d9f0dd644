import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { printable, printableEntry } from '../../lib/values/printable.ts'

describe('printable()', () => {
  it('escapes what a terminal would obey or hide', () => {
    assert.equal(
      printable('\u001b[2J\r\u0007\u009b31m\u202e\u200b\ufeff\u2028b\u00fc\t\n'),
      '\\u{1b}[2J\\u{d}\\u{7}\\u{9b}31m\\u{202e}\\u{200b}\\u{feff}\\u{2028}b\u00fc\t\n',
    )
  })
})

describe('printableEntry()', () => {
  it('indents the lines after the first', () => {
    assert.equal(
      printableEntry('one\nleo.test | two\r\n\u001b[1m\n'),
      'one\n  leo.test | two\\u{d}\n  \\u{1b}[1m\n  ',
    )
  })
})
