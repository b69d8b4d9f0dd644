import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { madeFrom } from './made-files.ts'
import { readResults } from './results.ts'

describe('files that show the recorded run are as `npm run bench:readme` makes them:', () => {
  for (const [file, content] of madeFrom(readResults(), readFileSync('README.md', 'utf8'))) {
    it(file, () => assert.equal(readFileSync(file, 'utf8'), content))
  }
})
