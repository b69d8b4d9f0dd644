import assert from 'node:assert/strict'
import { mkdirSync, statSync } from 'node:fs'
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { findEntry, lookedFor } from '../../lib/release/app-entry.ts'
import { World } from '../support/world.ts'

/** The entry of an app folder with these files, each empty unless its content is given. */
async function entryOf(
  files: Record<string, string> | string[],
  moduleName?: string,
): Promise<string | undefined> {
  await using world = new World()
  const tree = Array.isArray(files) ? Object.fromEntries(files.map(file => [file, ''])) : files
  for (const [file, source] of Object.entries(tree)) {
    if (file.endsWith('/')) mkdirSync(world.path('app', file), { recursive: true })
    else world.write(`app/${file}`, source)
  }
  const found = await findEntry(world.path('app'), moduleName)
  return found?.path.slice(world.path('app').length + 1)
}

const EXTENSIONS = ['.js', '.cjs', '.mjs', '.ts', '.cts', '.mts']

describe('findEntry', () => {
  it('tries app, index and server, each with every extension, in that order', async () => {
    const inOrder = ['app', 'index', 'server'].flatMap(name => EXTENSIONS.map(extension => name + extension))
    for (const [position, file] of inOrder.entries()) {
      assert.equal(await entryOf(inOrder.slice(position)), file)
    }
  })

  it('ignores folders and files with other names', async () => {
    assert.equal(await entryOf(['app.js/', 'index.js/', 'server.mjs']), 'server.mjs')
    assert.equal(
      await entryOf(['main.js', 'app.jsx', 'App.js', 'app', 'index.json', 'lib/app.js']),
      undefined,
    )
  })

  it('lists no folder of very many files, which would hold everything up', async t => {
    const lists = t.mock.method(fs, 'readdir')
    // Rebinds named imports of node:fs/promises to what is on its object now, and again below.
    syncBuiltinESMExports()
    t.after(() => {
      lists.mock.restore()
      syncBuiltinESMExports()
    })
    await using world = new World()
    world.write('app/index.js', '')
    world.write('app/server.js', '')
    const folder = world.path('app')
    const stats = statSync(folder, { bigint: true })
    const large = Object.assign(Object.create(stats), { size: 2n ** 21n })
    for (const [of, listed] of [
      [large, 0],
      [stats, 1],
      [undefined, 2],
    ] as const) {
      assert.equal((await findEntry(folder, undefined, true, of))?.path, join(folder, 'index.js'))
      assert.equal(lists.mock.callCount(), listed)
    }
  })

  it('gives nothing if there is nothing', async () => {
    assert.equal(await entryOf([]), undefined)
    assert.equal(await entryOf([], 'app'), undefined)
    assert.equal(await findEntry(join(import.meta.dirname, 'no-such-folder'), undefined), undefined)
    assert.equal(await findEntry(join(import.meta.filename, 'app'), undefined), undefined)
  })

  describe('follows only moduleName if it is given:', () => {
    for (const [name, files, moduleName, expected] of [
      ['any name', ['app.js', 'main.js'], 'main', 'main.js'],
      ['in a subfolder', ['app.js', 'src/web/main.mjs'], 'src/web/main', 'src/web/main.mjs'],
      ['a name with a dot', ['site.prod.js'], 'site.prod', 'site.prod.js'],
      ['in the order of extensions', ['main.mts', 'main.mjs', 'main.cjs'], 'main', 'main.cjs'],
      ['not its folder', ['main/index.js', 'main/'], 'main', undefined],
      ['nothing instead', ['app.js', 'index.js'], 'main', undefined],
    ] as const) {
      it(name, async () => assert.equal(await entryOf([...files], moduleName), expected))
    }

    it('not main of package.json', async () => {
      const files = { 'package.json': '{ "main": "app.js" }', 'app.js': '', 'main.js': '' }
      assert.equal(await entryOf(files, 'main'), 'main.js')
    })
  })

  describe('follows main of package.json as Node does:', () => {
    for (const [name, main, files, expected] of [
      ['a file', '"main.js"', ['main.js', 'app.js'], 'main.js'],
      ['a file in a folder', '"./lib/main.mjs"', ['lib/main.mjs', 'app.js'], 'lib/main.mjs'],
      ['a file without its .js', '"lib/main"', ['lib/main.js', 'app.js'], 'lib/main.js'],
      ['a folder with index.js', '"lib"', ['lib/index.js', 'app.js'], 'lib/index.js'],
      ['a folder with a slash', '"./lib/"', ['lib/index.js', 'app.js'], 'lib/index.js'],
      ['the app folder itself', '"."', ['index.js', 'app.js'], 'index.js'],
      ['a file without any extension', '"main"', ['main', 'app.js'], 'main'],
      ['a name of the list that is not the first', '"server.js"', ['server.js', 'app.js'], 'server.js'],
      ['one that does not exist falls back', '"dist/main.js"', ['app.js'], 'app.js'],
      ['a folder without index.js falls back', '"lib"', ['lib/main.js', 'index.mjs'], 'index.mjs'],
      ['one without its .mjs falls back', '"main"', ['main.mjs', 'app.js'], 'app.js'],
      ['an empty one falls back', '""', ['index.js', 'app.js'], 'app.js'],
      ['one that is no string falls back', '["main.js"]', ['main.js', 'app.js'], 'app.js'],
      ['null falls back', 'null', ['main.js', 'app.js'], 'app.js'],
    ] as const) {
      it(name, async () => {
        const files_ = Object.fromEntries(files.map(file => [file, '']))
        assert.equal(await entryOf({ ...files_, 'package.json': `{ "main": ${main} }` }), expected)
      })
    }
  })

  for (const source of ['', '{', 'null', '7', '"text"', '[]', '{}', '{ "main": "main.js"']) {
    it(`takes a package.json that says ${source || 'nothing'} for none`, async () => {
      assert.equal(await entryOf({ 'package.json': source, 'main.js': '', 'app.js': '' }), 'app.js')
    })
  }

  it('passes over a byte order mark, as Node does', async () => {
    const source = '\ufeff{ "main": "main.js" }'
    assert.equal(await entryOf({ 'package.json': source, 'main.js': '', 'app.js': '' }), 'main.js')
  })

  it('takes a package.json of more than one MiB for none', async () => {
    const source = JSON.stringify({ main: 'main.js', more: 'x'.repeat(2 ** 20) })
    assert.equal(await entryOf({ 'package.json': source, 'main.js': '', 'app.js': '' }), 'app.js')
  })

  it('follows links, but not dangling ones', async () => {
    await using world = new World()
    world.write('build/main.js', '')
    world.link('app/app.js', '../build/gone.js')
    world.link('app/index.js', '../build/main.js')
    assert.equal((await findEntry(world.path('app'), undefined))?.path, world.path('app/index.js'))
    assert.equal(await findEntry(world.path('app'), 'app'), undefined)
  })
})

describe('an entry stands in', () => {
  for (const [what, files, isStandIn] of [
    ['for a main that is not there', { 'package.json': '{ "main": "dist/main.js" }', 'index.js': '' }, true],
    ['not where main is there', { 'package.json': '{ "main": "main.js" }', 'main.js': '' }, false],
    ['not where no main is named', { 'package.json': '{}', 'index.js': '' }, false],
    ['not where there is no package.json', { 'index.js': '' }, false],
  ] as const) {
    it(what, async () => {
      await using world = new World()
      for (const [file, source] of Object.entries(files)) world.write(`app/${file}`, source)
      assert.equal((await findEntry(world.path('app'), undefined))?.isStandIn, isStandIn)
    })
  }
})

describe('lookedFor', () => {
  const endings = 'with .js .cjs .mjs .ts .cts .mts'
  for (const [what, packageJson, moduleName, words] of [
    ['the names that an entry may have', undefined, undefined, `app, index, server ${endings}`],
    [
      'main, where a build step has not made it yet',
      '{ "main": "dist/main.js" }',
      undefined,
      `dist/main.js, the main of its package.json, and for app, index, server ${endings}`,
    ],
    ['moduleName alone, with its folder', '{ "main": "dist/main.js" }', 'src/main', `src/main ${endings}`],
  ] as const) {
    it(`names ${what}`, async () => {
      await using world = new World()
      world.write('app/other.js', '')
      if (packageJson !== undefined) world.write('app/package.json', packageJson)
      assert.equal(await lookedFor(world.path('app'), moduleName), words)
    })
  }
})
