import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import { EnvironmentWrites } from '../../lib/launch/environment-writes.ts'
import { eventually, World } from '../support/world.ts'

const NAMES = ['VAN_SPEC_A', 'VAN_SPEC_B', 'VAN_SPEC_C', 'VAN_SPEC_LATE']

describe('environment variables that an app wrote while it was loaded', () => {
  afterEach(() => {
    for (const name of NAMES) delete process.env[name]
  })

  for (const [system, file, source] of [
    ['CommonJS', 'index.js', `module.exports = (req, res) => res.end('answer')`],
    ['ES modules', 'index.mjs', `export default (req, res) => res.end('answer')`],
  ] as const) {
    it(`are reported by why(), of ${system}: new, changed and deleted ones`, async () => {
      await using world = await World.start()
      world.site('other.test', 'other')
      await world.body('other.test')
      process.env.VAN_SPEC_B = 'before'
      process.env.VAN_SPEC_C = 'before'
      world.write(
        `aries.test/app/${file}`,
        `process.env.VAN_SPEC_A = 'secret'; process.env.VAN_SPEC_B = 'other'; delete process.env.VAN_SPEC_C
        ${source}`,
      )
      assert.deepEqual((await world.vhosts.why('aries.test')).environmentWrites, [])
      assert.equal(await world.body('aries.test'), 'answer')
      const why = await world.vhosts.why('aries.test')
      assert.deepEqual(why.environmentWrites, ['VAN_SPEC_A', 'VAN_SPEC_B', 'VAN_SPEC_C'])
      assert.doesNotMatch(JSON.stringify(why), /secret/)
      assert.deepEqual((await world.vhosts.why('other.test')).environmentWrites, [])
    })
  }

  it('also if createApp() writes them while it is awaited, and even while the folder is away', async () => {
    await using world = await World.start({ exportName: 'createApp()', watch: false, updateInterval: 60_000 })
    world.write(
      'aries.test/app/index.js',
      `exports.createApp = async () => {
        await new Promise(resolve => setTimeout(resolve, 5))
        process.env.VAN_SPEC_A = '1'
        return (req, res) => res.end('answer')
      }`,
    )
    assert.equal(await world.body('aries.test'), 'answer')
    world.remove('aries.test')
    const { outcome, environmentWrites } = await world.vhosts.why('aries.test')
    assert.deepEqual([outcome, environmentWrites], ['app', ['VAN_SPEC_A']])
  })

  it('are not looked for once the load is over, or late', () => {
    const writes = new EnvironmentWrites()
    process.env.VAN_SPEC_A = '1'
    writes.end()
    process.env.VAN_SPEC_LATE = '1'
    writes.end()
    assert.deepEqual(writes.names, ['VAN_SPEC_A'])
  })

  it('are not attributed to a neighbour that waited meanwhile', async () => {
    await using world = await World.start()
    const gates: Record<string, () => void> = {}
    Object.assign(globalThis, { environmentGates: gates })
    world.write(
      'slow.test/app/index.mjs',
      `await new Promise(resolve => { globalThis.environmentGates.slow = resolve })
      process.env.VAN_SPEC_LATE = '1'
      export default (req, res) => res.end('slow')`,
    )
    world.write(
      'quick.test/app/index.js',
      `process.env.VAN_SPEC_A = '1'; module.exports = (req, res) => res.end('quick')`,
    )
    const slow = world.body('slow.test')
    await eventually(() => gates.slow !== undefined)
    assert.equal(await world.body('quick.test'), 'quick')
    gates.slow?.()
    assert.equal(await slow, 'slow')
    assert.deepEqual((await world.vhosts.why('quick.test')).environmentWrites, ['VAN_SPEC_A'])
    assert.deepEqual((await world.vhosts.why('slow.test')).environmentWrites, ['VAN_SPEC_LATE'])
    Reflect.deleteProperty(globalThis, 'environmentGates')
  })

  it('of a release that did not load are not attributed to the next', async () => {
    await using world = await World.start()
    world.write('aries.test/app/index.js', `process.env.VAN_SPEC_A = '1'; throw new Error('broken')`)
    assert.equal((await world.get('aries.test')).status, 500)
    world.site('aries.test', 'mended')
    await eventually(async () => assert.equal(await world.body('aries.test'), 'mended'))
    assert.deepEqual((await world.vhosts.why('aries.test')).environmentWrites, [])
  })
})
