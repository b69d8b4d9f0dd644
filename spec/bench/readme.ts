import { readFileSync, writeFileSync } from 'node:fs'
import { madeFrom } from './made-files.ts'
import { readResults } from './results.ts'

// Writes README's performance section and its charts.
for (const [file, content] of madeFrom(readResults(), readFileSync('README.md', 'utf8'))) {
  writeFileSync(file, content)
}
