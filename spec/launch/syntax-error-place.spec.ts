import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { FreshImport } from '../../lib/launch/fresh-import.ts'
import { tellPlace } from '../../lib/launch/syntax-error-place.ts'
import { World } from '../support/world.ts'

/** What loading the entry of a release throws. */
async function thrown(world: World, entry = 'aries.test/app/index.mjs'): Promise<Error> {
  const modules = new FreshImport(world.path('aries.test'))
  return await modules.load(world.path(entry), []).then(
    () => assert.fail('it was loaded'),
    error => error,
  )
}

describe('the error of an ES module that cannot be parsed', () => {
  it('gives the place, as that of CommonJS does', async () => {
    await using world = new World()
    world.write('aries.test/app/index.mjs', '\nexport default =')
    world.write('aries.test/app/index.cjs', '\nmodule.exports = ]')
    const { stack } = await thrown(world)
    assert.match(stack ?? '', /^file:.*index\.mjs:2\nexport default =\n +\^?\n\nSyntaxError: /)
    const { stack: ofCommonJS } = await thrown(world, 'aries.test/app/index.cjs')
    assert.match(ofCommonJS ?? '', /index\.cjs:2\nmodule\.exports = \]\n +\^\n\nSyntaxError: /)
  })

  it('gives the place in a module that the entry imports, without running any', async () => {
    await using world = new World()
    world.write('aries.test/package.json', '{ "type": "module" }')
    world.write('aries.test/app/index.mjs', 'import "./lib/early.cjs"\nimport "./lib/routes.js"')
    world.write('aries.test/app/lib/early.cjs', 'globalThis.wasRun = true\nreturn')
    world.write('aries.test/app/lib/routes.js', 'import "../index.mjs"\n\nexport {')
    const { stack } = await thrown(world)
    assert.match(stack ?? '', /^file:.*lib\/routes\.js:3\n/)
    assert.equal('wasRun' in globalThis, false)
  })

  it('stays as it is if the module has meanwhile been mended, and so does any other error', async () => {
    await using world = new World()
    world.write('aries.test/app/index.mjs', 'export default =')
    const file = world.path('aries.test/app/index.mjs')
    const error: Error = await import(pathToFileURL(file).href).catch(error => error)
    world.write('aries.test/app/index.mjs', 'throw JSON.parse("{")')
    const other = await thrown(world)
    for (const each of [error, other, undefined, 'nothing']) {
      const before = each instanceof Error ? each.stack : each
      await tellPlace(each, file)
      assert.equal(each instanceof Error ? each.stack : each, before)
    }
  })
})
