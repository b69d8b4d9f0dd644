import assert from 'node:assert/strict'
import { mkdirSync, rmSync } from 'node:fs'
import { describe, it } from 'node:test'
import { foldersAbove, isAbsentPackage, packageName } from '../../lib/launch/package-folders.ts'
import { World } from '../support/world.ts'

describe('isAbsentPackage', () => {
  it('is true for a package that is in none of the folders, and for nothing else', async () => {
    await using world = new World()
    world.write('near/node_modules/near/package.json', '{}')
    world.write('node_modules/far/package.json', '{}')
    world.write('node_modules/@scope/far/package.json', '{}')
    world.write('node_modules/indexed/index.js', '')
    world.write('node_modules/single.js', '')
    world.write('node_modules/bare', '')
    world.write('node_modules/parts/lib/one.js', '')
    world.write('node_modules/parts/lib/two/index.json', '{}')
    mkdirSync(world.path('node_modules/begun'))
    const folders = foldersAbove(world.path('near'))
    const absent = [
      'missing',
      'missing/part',
      '@scope/missing',
      '@scope',
      'begun',
      'begun/part',
      'parts',
      'parts/none',
    ]
    const present = [
      'near',
      'far',
      'far/anything',
      '@scope/far',
      '@scope/far/part',
      'indexed',
      'single',
      'bare',
      'parts/lib/one',
    ]
    const parts = ['parts/lib/one.js', 'parts/lib/two']
    const others = [
      'fs',
      'node:fs',
      'fs/promises',
      './missing',
      '../missing',
      '.',
      '..',
      '/missing',
      '#missing',
      'data:,',
    ]
    for (const specifier of absent) assert.equal(isAbsentPackage(specifier, folders), true, specifier)
    for (const specifier of [...present, ...parts, ...others]) {
      assert.equal(isAbsentPackage(specifier, folders), false, specifier)
    }
    assert.deepEqual(['a', 'a/b/c', '@a/b', '@a/b/c'].map(packageName), ['a', 'a', '@a/b', '@a/b'])
  })

  it('assumes until the turn ends that a package has no node_modules of its own if it had none', async () => {
    await using world = new World()
    const folders = foldersAbove(world.path('node_modules/outer/lib'))
    assert.equal(isAbsentPackage('late', folders), true)
    world.write('node_modules/outer/lib/node_modules/late/package.json', '{}')
    assert.equal(isAbsentPackage('late', folders), true)
    await Promise.resolve()
    assert.equal(isAbsentPackage('late', folders), false)
  })

  it('assumes until the turn ends that what was there still is, and looks again for what was not', async () => {
    await using world = new World()
    world.write('node_modules/other/package.json', '{}')
    const folders = foldersAbove(world.path('near'))
    assert.equal(isAbsentPackage('late', folders), true)
    world.write('node_modules/late/package.json', '{}')
    assert.equal(isAbsentPackage('late', folders), false)
    rmSync(world.path('node_modules/late'), { recursive: true })
    assert.equal(isAbsentPackage('late', folders), false)
    await Promise.resolve()
    assert.equal(isAbsentPackage('late', folders), true)
  })
})

describe('a package that is absent', () => {
  for (const [system, file, use] of [
    ['CommonJS', 'index.js', (name: string) => `const found = require('${name}'); module.exports =`],
    ['ES modules', 'index.mjs', (name: string) => `import found from '${name}'; export default`],
  ] as const) {
    const site = (world: World, host: string, name: string): void =>
      world.write(`${host}/app/${file}`, `${use(name)} (req, res) => res.end(String(found))`)

    it(`is reported as Node does, and found as soon as it is installed: ${system}`, async () => {
      await using world = await World.start({ watch: false })
      // If there were no such folder at all, Node would not look, and would remember nothing.
      mkdirSync(world.path('aries.test/node_modules'), { recursive: true })
      for (const name of ['late', '@scope/late', 'late-exports/part']) {
        site(world, 'aries.test', name)
        await assert.rejects(world.vhosts.reload('aries.test'), ({ cause }: Error) => {
          assert.match(String((cause as NodeJS.ErrnoException).code), /^(ERR_)?MODULE_NOT_FOUND$/)
          assert.match(
            String(cause),
            new RegExp(`Cannot find (module|package) '${name.replace(/\/part$/, '.*')}'`),
          )
          assert.ok(String(cause).includes(world.path('aries.test/app', file)), String(cause))
          return true
        })
        const main = name.endsWith('part') ? '"exports": { "./part": "./main.js" }' : '"main": "main.js"'
        const folder = `aries.test/node_modules/${name.replace(/\/part$/, '')}`
        world.write(`${folder}/package.json`, `{ ${main} }`)
        world.write(`${folder}/main.js`, `module.exports = '${name}'`)
        await world.vhosts.reload('aries.test')
        assert.equal(await world.body('aries.test'), name)
      }
    })

    it(`is not assumed if a release imports itself by its own name: ${system}`, async () => {
      await using world = await World.start({ watch: false })
      world.write('aries.test/package.json', '{ "name": "itself", "exports": { "./own": "./own.js" } }')
      world.write('aries.test/own.js', `module.exports = 'own'`)
      site(world, 'aries.test', 'itself/own')
      assert.equal(await world.body('aries.test'), 'own')
    })
  }
})
