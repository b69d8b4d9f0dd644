import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { VhostError, VhostRouterOptions } from '../../lib/index.ts'
import { World } from '../support/world.ts'

const HOST = 'aries.test'

/** Packages of every kind; each exports its own name and the folder that it is in. */
function install(world: World, folder: string): void {
  const value = (name: string): string => JSON.stringify(`${name} of ${folder}`)
  const write = (file: string, source: string): void => world.write(`${folder}/${file}`, source)
  write('plain/index.js', `module.exports = ${value('plain')}`)
  write('plain/sub.js', `module.exports = ${value('plain/sub')}`)
  write('main/package.json', '{ "main": "lib/main" }')
  write('main/lib/main.js', `module.exports = ${value('main')}`)
  write(
    'exports/package.json',
    '{ "name": "exports", "exports": { ".": "./dist/a.js", "./sub": "./dist/b.js" } }',
  )
  write('exports/dist/a.js', `module.exports = ${value('exports')}`)
  write('exports/dist/b.js', `module.exports = ${value('exports/sub')}`)
  write(
    'dual/package.json',
    '{ "name": "dual", "exports": { "import": "./index.mjs", "require": "./index.cjs" } }',
  )
  write('dual/index.mjs', `export default ${value('dual')}`)
  write('dual/index.cjs', `module.exports = ${value('dual')}`)
  write(
    '@scope/pkg/package.json',
    '{ "name": "@scope/pkg", "exports": { ".": "./index.js", "./sub": "./sub.js" } }',
  )
  write('@scope/pkg/index.js', `module.exports = ${value('@scope/pkg')}`)
  write('@scope/pkg/sub.js', `module.exports = ${value('@scope/pkg/sub')}`)
  write('@scope/plain/index.js', `module.exports = ${value('@scope/plain')}`)
  write('renamed/package.json', '{ "name": "other-name", "exports": "./index.js" }')
  write('renamed/index.js', `module.exports = ${value('renamed')}`)
  write('nested/package.json', '{ "main": "index.js" }')
  write('nested/index.js', `module.exports = require('plain').replace('plain', 'nested')`)
}

const NAMES = [
  'plain',
  'main',
  'exports',
  'exports/sub',
  'dual',
  '@scope/pkg',
  '@scope/pkg/sub',
  '@scope/plain',
  'renamed',
  'nested',
]

/** An app that answers with what the package named in the URL exports. */
const SYSTEMS: [system: string, file: string, source: string, subpath: string][] = [
  ['CommonJS', 'index.js', 'module.exports = (req, res) => res.end(require(req.url.slice(1)))', 'plain/sub'],
  [
    'ES modules',
    'index.mjs',
    'export default async (req, res) => res.end((await import(req.url.slice(1))).default)',
    'plain/sub.js',
  ],
  [
    'import() of CommonJS',
    'index.cjs',
    'module.exports = async (req, res) => res.end((await import(req.url.slice(1))).default)',
    'plain/sub.js',
  ],
]

async function start(options: VhostRouterOptions): Promise<World> {
  return await World.start({ getVersion: () => 1, watch: false, ...options })
}

describe('getModulePaths and modulesDir', () => {
  for (const [system, file, source, subpath] of SYSTEMS) {
    describe(`find bare imports of ${system}`, () => {
      for (const [name, folder, options] of [
        ['in a folder of another name', `${HOST}/vendor`, { modulesDir: 'vendor' }],
        ['in a folder of another name, deep', `${HOST}/lib/third/party`, { modulesDir: 'lib/third/party' }],
        ['in a node_modules elsewhere', `${HOST}/deep/node_modules`, { modulesDir: 'deep/node_modules' }],
      ] as const) {
        it(name, async () => {
          await using world = await start(options)
          world.write(`${HOST}/app/${file}`, source)
          install(world, folder)
          for (const each of [...NAMES, subpath]) {
            const expected = `${each.replace(/^plain.sub.js$/, 'plain/sub')} of ${folder}`
            const { status, body } = await world.get(HOST, `/${each}`)
            assert.deepEqual([each, status, body], [each, 200, expected])
          }
        })
      }

      it('in several folders, in their order', async () => {
        await using world = await start({
          getModulePaths: realPath => [join(realPath, 'first'), join(realPath, '../shared/node_modules')],
        })
        world.write(`${HOST}/app/${file}`, source)
        world.write(`${HOST}/first/plain/index.js`, `module.exports = 'first'`)
        install(world, 'shared/node_modules')
        assert.equal(await world.body(HOST, '/plain'), 'first')
        assert.equal(await world.body(HOST, '/main'), 'main of shared/node_modules')
      })

      it(`after Node's own search`, async () => {
        await using world = await start({ modulesDir: 'vendor' })
        world.write(`${HOST}/app/${file}`, source)
        install(world, `${HOST}/vendor`)
        world.write(`${HOST}/node_modules/plain/index.js`, `module.exports = 'own'`)
        assert.equal(await world.body(HOST, '/plain'), 'own')
        assert.equal(await world.body(HOST, '/main'), `main of ${HOST}/vendor`)
      })

      it('but not in the folders around them', async () => {
        await using world = await start({ getModulePaths: () => [world.path('shared/deep/node_modules')] })
        world.write(`${HOST}/app/${file}`, source)
        world.write('shared/deep/node_modules/main/index.js', `module.exports = 'found'`)
        world.write('shared/node_modules/plain/index.js', `module.exports = 'too far'`)
        assert.equal(await world.body(HOST, '/main'), 'found')
        assert.equal((await world.get(HOST, '/plain')).status, 500)
      })

      it('for no other vhost', async () => {
        await using world = await start({ modulesDir: 'vendor' })
        for (const host of [HOST, 'taurus.test']) world.write(`${host}/app/${file}`, source)
        install(world, `${HOST}/vendor`)
        world.write('taurus.test/vendor/main/index.js', `module.exports = 'main of taurus'`)
        assert.equal(await world.body(HOST, '/plain'), `plain of ${HOST}/vendor`)
        assert.equal((await world.get('taurus.test', '/plain')).status, 500)
        assert.equal(await world.body('taurus.test', '/main'), 'main of taurus')
        assert.equal(await world.body(HOST, '/main'), `main of ${HOST}/vendor`)
      })

      it('but not what the package does not export, nor what is broken there', async () => {
        await using world = await start({ modulesDir: 'vendor' })
        world.write(`${HOST}/app/${file}`, source)
        install(world, `${HOST}/vendor`)
        for (const name of ['exports/dist/b.js', 'missing', 'plain/missing.js', './missing.js', '#missing']) {
          const { status } = await world.get(HOST, `/${name.replace('#', '%23')}`)
          assert.deepEqual([name, status], [name, 500])
        }
      })

      it('anew after a reload', async () => {
        await using world = await start({ modulesDir: 'vendor' })
        world.write(`${HOST}/app/${file}`, source)
        for (const n of ['one', 'two']) {
          world.write(`${HOST}/vendor/plain/index.js`, `module.exports = require('./lib')`)
          world.write(`${HOST}/vendor/plain/lib.js`, `module.exports = '${n}'`)
          if (n === 'two') await world.vhosts.reload(HOST)
          assert.equal(await world.body(HOST, '/plain'), n)
        }
      })
    })
  }

  it('also serve static imports and require.resolve()', async () => {
    await using world = await start({ modulesDir: 'vendor' })
    install(world, `${HOST}/vendor`)
    world.write(
      `${HOST}/app/index.mjs`,
      `
      import { createRequire } from 'node:module'
      import plain from 'plain'
      import dual from 'dual'
      const require = createRequire(import.meta.url)
      export default (req, res) => res.end([plain, dual, require('main'), require.resolve('main')].join('\\n'))`,
    )
    const vendor = `${HOST}/vendor`
    assert.equal(
      await world.body(HOST),
      [
        `plain of ${vendor}`,
        `dual of ${vendor}`,
        `main of ${vendor}`,
        world.path(vendor, 'main/lib/main.js'),
      ].join('\n'),
    )
  })

  it('report a missing package as Node does', async () => {
    await using world = await start({ modulesDir: 'vendor' })
    world.write(`${HOST}/app/index.js`, `require('missing')`)
    world.write('taurus.test/app/index.mjs', `import 'missing'`)
    const causeOf = async (host: string): Promise<unknown> =>
      await world.vhosts.load(host).catch((error: VhostError) => (error.cause as NodeJS.ErrnoException).code)
    assert.equal(await causeOf(HOST), 'MODULE_NOT_FOUND')
    assert.equal(await causeOf('taurus.test'), 'ERR_MODULE_NOT_FOUND')
  })

  it('leave the router alone: its own process finds no package of a vhost', async () => {
    await using world = await start({ modulesDir: 'vendor' })
    install(world, `${HOST}/vendor`)
    world.write(`${HOST}/app/index.js`, SYSTEMS[0]?.[2] as string)
    assert.equal(await world.body(HOST, '/plain'), `plain of ${HOST}/vendor`)
    const name = 'plain'
    await assert.rejects(import(name), { code: 'ERR_MODULE_NOT_FOUND' })
  })
})
