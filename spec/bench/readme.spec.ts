import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { madeFrom } from './made-files.ts'
import { readResults } from './results.ts'

describe('what shows the recorded run is what `npm run bench:readme` makes of it:', () => {
  for (const [file, content] of madeFrom(readResults(), readFileSync('README.md', 'utf8'))) {
    it(file, () => assert.equal(readFileSync(file, 'utf8'), content))
  }
})
