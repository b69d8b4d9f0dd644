import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type SoakReport, soak } from './run.ts'

// A short form of `npm run soak`, so that a regression shows. With the same seed, that explains a violation.
describe('random deploys under random requests', () => {
  for (const watch of [true, false]) {
    it(`break no rule, ${watch ? 'with events' : 'by looking alone'}`, { timeout: 180_000 }, async () => {
      const report = await soak({
        seed: 15,
        milliseconds: 7500,
        bound: watch ? 3000 : 4000,
        watch,
        isolation: 'none',
      })
      assert.deepEqual(report.violations.map(told), [])
      assert.equal(report.complaints, '')
      assert.ok(report.requests > 500, `${report.requests} requests`)
      assert.ok(motionsOf(report) > 50, `${motionsOf(report)} motions`)
    })
  }
})

function motionsOf({ motions }: SoakReport): number {
  return Object.values(motions).reduce((sum, { count }) => sum + count, 0)
}

function told({ name, rule, answer, log }: SoakReport['violations'][number]): string {
  return `${name}: ${rule}\n${JSON.stringify(answer)}\n${log}`
}
