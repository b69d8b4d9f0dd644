import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { join, sep } from 'node:path'
import { describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { FreshImport } from '../../lib/launch/fresh-import.ts'
import { hasLinked, linkedRun } from '../../lib/launch/linked-modules.ts'
import { eventually, World } from '../support/world.ts'

type Tree = Record<string, string>

interface Globals {
  evaluated?: string[]
}
const globals = globalThis as unknown as Globals
/** Why to skip what only hooks of the same thread can know; false if there are such hooks. */
const noHooks = 'registerHooks' in Module ? false : 'Node 20 asks no hook'
const isTypeScriptStripped = Boolean((process.features as { typescript?: unknown }).typescript)

/** Hooks that delay modules named `slow.mjs` until a file `go` is beside them. */
const SLOW_LOADER = `data:text/javascript,${encodeURIComponent(`
  import { existsSync } from 'node:fs'
  import { setTimeout } from 'node:timers/promises'
  export async function load(url, context, next) {
    while (/\\/slow\\.mjs\\b/.test(url) && !existsSync(new URL('go', url))) await setTimeout(5)
    return await next(url, context)
  }`)}`

/** A release on disk, loaded without a router. */
class Site {
  readonly path: string
  readonly #world: World
  readonly #name: string
  last: FreshImport | undefined

  constructor(world: World, name = 'aries.test') {
    this.#world = world
    this.#name = name
    this.path = world.path(name)
  }

  write(tree: Tree): void {
    for (const [file, content] of Object.entries(tree)) this.#world.write(`${this.#name}/${file}`, content)
  }

  remove(file: string): void {
    rmSync(join(this.path, file), { recursive: true })
  }

  /** Makes a symlink, or flips it. */
  link(link: string, target: string): void {
    this.#world.link(`${this.#name}/${link}`, target)
  }

  /** The site's files in Node's cache. */
  get cached(): string[] {
    return Object.keys(createRequire(import.meta.url).cache).filter(file => file.startsWith(this.path))
  }

  /** Loads the entry anew and keeps it. */
  async load(entry: string, modulePaths: readonly string[] = []): Promise<unknown> {
    this.last = new FreshImport(this.path)
    const exports = await this.last.load(join(this.path, entry), modulePaths)
    this.last.keep()
    return exports
  }

  /** Like `load`, for a load that fails. */
  async fail(entry: string): Promise<Error> {
    this.last = new FreshImport(this.path)
    const error = await this.last.load(join(this.path, entry), []).then(
      () => assert.fail('it loaded'),
      failure => failure,
    )
    this.last.undo()
    return error
  }

  /** Calls the function that an entry exports. */
  async ask(entry: string, ...values: unknown[]): Promise<unknown> {
    return await call(await this.load(entry), ...values)
  }
}

async function call(exports: unknown, ...values: unknown[]): Promise<unknown> {
  const { default: inner } = exports as { default?: unknown }
  return await ((inner ?? exports) as (...values: unknown[]) => unknown)(...values)
}

/** Graphs whose modules each report their generation; all must name the one last written. */
const GRAPHS: Record<string, { entry: string; tree: (generation: string) => Tree }> = {
  'CommonJS with its own files, JSON and packages': {
    entry: 'app/index.js',
    tree: n => ({
      'app/index.js': `
        const own = [require('./lib'), require('./lib/deep/deeper.cjs'), require('./data.json').n]
        module.exports = () => ['${n}', ...own, require('pkg'), require('pkg/sub'), require('@scope/pkg')]`,
      'app/lib/index.js': `module.exports = '${n}'`,
      'app/lib/deep/deeper.cjs': `exports.n = '${n}'; module.exports = require('./deepest.js').n`,
      'app/lib/deep/deepest.js': `exports.n = '${n}'`,
      'app/data.json': `{ "n": "${n}" }`,
      'node_modules/pkg/index.js': `module.exports = require('./lib')`,
      'node_modules/pkg/lib.js': `module.exports = '${n}'`,
      'node_modules/pkg/sub.js': `module.exports = '${n}'`,
      'node_modules/@scope/pkg/package.json': '{ "main": "main.js" }',
      'node_modules/@scope/pkg/main.js': `module.exports = '${n}'`,
    }),
  },
  'ES modules with their own files, JSON and packages': {
    entry: 'app/index.mjs',
    tree: n => ({
      'app/index.mjs': `
        import './side.mjs'
        import * as lib from './lib.mjs'
        import data from './data.json' with { type: 'json' }
        import pkg from 'pkg'
        import { sub } from 'pkg/sub'
        export default async () => ['${n}', globalThis.side, lib.n, data.n, pkg, sub, (await import('./late.mjs')).n]`,
      'app/side.mjs': `globalThis.side = '${n}'`,
      'app/lib.mjs': `export { n } from './deep.mjs'`,
      'app/deep.mjs': `export const n = '${n}'`,
      'app/late.mjs': `export const n = '${n}'`,
      'app/data.json': `{ "n": "${n}" }`,
      'node_modules/pkg/package.json': `{ "type": "module", "exports": { ".": "./main.js", "./sub": "./sub/index.js" } }`,
      'node_modules/pkg/main.js': `export { n as default } from './deep.js'`,
      'node_modules/pkg/deep.js': `export const n = '${n}'`,
      'node_modules/pkg/sub/index.js': `export const sub = '${n}'`,
    }),
  },
  'ES modules that import CommonJS, with what that requires': {
    entry: 'app/index.mjs',
    tree: n => ({
      'app/index.mjs': `
        import lib from './lib.cjs'
        import pkg from 'pkg'
        import { named } from 'pkg'
        export default () => ['${n}', lib(), pkg.named, named, pkg.inner.n, pkg.data.n]`,
      'app/lib.cjs': `const { n } = require('./inner.cjs'); module.exports = () => n`,
      'app/inner.cjs': `exports.n = '${n}'`,
      'node_modules/pkg/index.js': `
        exports.named = '${n}'
        exports.inner = require('./inner')
        exports.data = require('./data.json')`,
      'node_modules/pkg/inner.js': `exports.n = '${n}'`,
      'node_modules/pkg/data.json': `{ "n": "${n}" }`,
    }),
  },
  'CommonJS required from an ES module': {
    entry: 'app/index.mjs',
    tree: n => ({
      'app/index.mjs': `
        import { createRequire } from 'node:module'
        const require = createRequire(import.meta.url)
        const { lib } = require('./lib.cjs')
        export default () => ['${n}', lib, require('./late.cjs'), require('./data.json').n, require('pkg')]`,
      'app/lib.cjs': `exports.lib = require('./inner.cjs')`,
      'app/inner.cjs': `module.exports = '${n}'`,
      'app/late.cjs': `module.exports = '${n}'`,
      'app/data.json': `{ "n": "${n}" }`,
      'node_modules/pkg/index.js': `module.exports = require('./lib')`,
      'node_modules/pkg/lib.js': `module.exports = '${n}'`,
    }),
  },
  'ES modules that a CommonJS app imports, at its load and late': {
    entry: 'app/index.js',
    tree: n => ({
      'app/index.js': `
        const early = import('./early.mjs')
        module.exports = async () => ['${n}', (await early).n, (await import('./late.mjs')).n, (await import('pkg')).n, await require('./lib')()]`,
      'app/lib.js': `module.exports = async () => (await import('./later.mjs')).n`,
      'app/early.mjs': `export { n } from './deep.mjs'`,
      'app/deep.mjs': `export const n = '${n}'`,
      'app/late.mjs': `export { n } from './later.mjs'`,
      'app/later.mjs': `export const n = '${n}'`,
      'node_modules/pkg/package.json': `{ "exports": "./main.mjs" }`,
      'node_modules/pkg/main.mjs': `export const n = '${n}'`,
    }),
  },
  'a package with both systems, asked for by both': {
    entry: 'app/index.mjs',
    tree: n => ({
      'app/index.mjs': `
        import { n, system } from 'dual'
        import required from './required.cjs'
        export default () => ['${n}', n, required.n, system === 'esm' && required.system === 'cjs' ? '${n}' : 'wrong system']`,
      'app/required.cjs': `module.exports = require('dual')`,
      'node_modules/dual/package.json': `{ "exports": { "import": "./index.mjs", "require": "./index.cjs" } }`,
      'node_modules/dual/index.mjs': `export const n = '${n}', system = 'esm'`,
      'node_modules/dual/index.cjs': `exports.n = '${n}'; exports.system = 'cjs'`,
    }),
  },
  'top-level await': {
    entry: 'app/index.mjs',
    tree: n => ({
      'app/index.mjs': `
        import { n } from './lib.mjs'
        const { n: late } = await import('./late.mjs')
        export default () => ['${n}', n, late]`,
      'app/lib.mjs': `export const n = await new Promise(resolve => setImmediate(resolve, '${n}'))`,
      'app/late.mjs': `export const n = await Promise.resolve('${n}')`,
    }),
  },
  'a .js that only its syntax shows to be an ES module': {
    entry: 'app/index.js',
    tree: n => ({
      'app/index.js': `import { n } from './lib.js'\nexport default () => ['${n}', n]`,
      'app/lib.js': `export const n = '${n}'`,
    }),
  },
  'a .js that only its syntax shows to be CommonJS, below a hash-bang': {
    entry: 'app/index.js',
    tree: n => ({
      'app/index.js': `#!/usr/bin/env node\nconst { n } = require('./lib.js')\nmodule.exports = () => ['${n}', n]`,
      'app/lib.js': `exports.n = '${n}'`,
    }),
  },
  'modules that import each other in a circle': {
    entry: 'app/index.mjs',
    tree: n => ({
      'app/index.mjs': `
        import { b } from './a.mjs'
        import circle from './circle.cjs'
        export const n = '${n}'
        export default () => [n, b(), circle()]`,
      'app/a.mjs': `import { n } from './index.mjs'\nexport const b = () => n`,
      'app/circle.cjs': `module.exports = () => require('./other.cjs').n(); module.exports.n = '${n}'`,
      'app/other.cjs': `const circle = require('./circle.cjs'); exports.n = () => circle.n`,
    }),
  },
  'an import with a query or a fragment of its own': {
    entry: 'app/index.mjs',
    tree: n => ({
      'app/index.mjs': `
        import { n } from './lib.mjs?own=1'
        import { n as other } from './lib.mjs#own'
        export default () => ['${n}', n, other]`,
      'app/lib.mjs': `export { n } from './deep.mjs'`,
      'app/deep.mjs': `export const n = '${n}'`,
    }),
  },
}

function assertAll(values: unknown, generation: string): void {
  assert.ok(Array.isArray(values) && values.length > 1)
  assert.deepEqual(new Set(values), new Set([generation]))
}

describe('FreshImport', () => {
  describe('renews every module below the release:', () => {
    for (const [name, { entry, tree }] of Object.entries(GRAPHS)) {
      it(name, async () => {
        await using world = new World()
        const site = new Site(world)
        for (const generation of ['one', 'two', 'three']) {
          site.write(tree(generation))
          assertAll(await site.ask(entry), generation)
        }
      })
    }

    for (const extension of ['ts', 'mts', 'cts']) {
      it(`TypeScript as .${extension}`, { skip: !isTypeScriptStripped }, async () => {
        await using world = new World()
        const site = new Site(world)
        const isCommonJS = extension === 'cts'
        for (const n of ['one', 'two']) {
          site.write({
            'app/package.json': '{ "type": "module" }',
            [`app/index.${extension}`]: isCommonJS
              ? `const { n }: { n: string } = require('./lib.cts'); module.exports = (): string[] => ['${n}', n]`
              : `import { n } from './lib.${extension}'\nexport default (): string[] => ['${n}', n as string]`,
            [`app/lib.${extension}`]: isCommonJS
              ? `exports.n = '${n}' as string`
              : `export const n: string = '${n}'`,
          })
          assertAll(await site.ask(`app/index.${extension}`), n)
        }
      })
    }

    it('once each, including what did not change on disk', async () => {
      await using world = new World()
      const site = new Site(world)
      const note = (name: string): string => `globalThis.evaluated.push('${name}')`
      site.write({
        'app/index.mjs': `
          import { createRequire } from 'node:module'
          import './own.mjs'
          import 'esm'
          import 'cjs'
          createRequire(import.meta.url)('cjs')
          ${note('entry')}`,
        'app/own.mjs': note('own'),
        'node_modules/esm/package.json': '{ "exports": "./index.mjs" }',
        'node_modules/esm/index.mjs': note('esm'),
        'node_modules/cjs/index.js': `require('./lib.js'); ${note('cjs')}`,
        'node_modules/cjs/lib.js': note('cjs lib'),
      })
      for (let round = 0; round < 3; round++) {
        globals.evaluated = []
        await site.load('app/index.mjs')
        assert.deepEqual(globals.evaluated.toSorted(), ['cjs', 'cjs lib', 'entry', 'esm', 'own'])
      }
    })

    it('in the order in which the modules require each other', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.mjs': `import './first.mjs'\nimport './second.cjs'\nimport './third.mjs'`,
        'app/first.mjs': `globalThis.evaluated.push('first')`,
        'app/second.cjs': `globalThis.evaluated.push('second'); module.exports = require('./within.cjs')`,
        'app/within.cjs': `globalThis.evaluated.push('within')`,
        'app/third.mjs': `globalThis.evaluated.push('third')`,
      })
      for (let round = 0; round < 3; round++) {
        globals.evaluated = []
        await site.load('app/index.mjs')
        assert.deepEqual(globals.evaluated, ['first', 'second', 'within', 'third'])
      }
    })
  })

  describe('gives an ES module what re-exporting CommonJS exports, which Node does not do after a purge:', () => {
    const reexporting = (n: string): Tree => ({
      'node_modules/pkg/index.js': `'use strict'\nmodule.exports = require('./lib/pkg')`,
      'node_modules/pkg/lib/pkg.js': `module.exports = () => '${n}'; module.exports.n = require('./deep')`,
      'node_modules/pkg/lib/deep.js': `module.exports = '${n}'`,
    })
    const imports = (n: string): string =>
      `import pkg from 'pkg'\nexport default () => ['${n}', pkg(), pkg.n]`
    const requires = (n: string): string =>
      `const pkg = require('pkg')\nmodule.exports = () => ['${n}', pkg(), pkg.n]`

    it('imported before and after', async () => {
      await using world = new World()
      const site = new Site(world)
      for (const n of ['one', 'two', 'three']) {
        site.write({ ...reexporting(n), 'app/index.mjs': imports(n) })
        assertAll(await site.ask('app/index.mjs'), n)
      }
    })

    it('required by a CommonJS entry before, imported after', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({ ...reexporting('one'), 'app/index.cjs': requires('one') })
      assertAll(await site.ask('app/index.cjs'), 'one')
      site.write({ ...reexporting('two'), 'app/index.mjs': imports('two') })
      assertAll(await site.ask('app/index.mjs'), 'two')
      site.write({ ...reexporting('three'), 'app/index.cjs': requires('three') })
      assertAll(await site.ask('app/index.cjs'), 'three')
      site.write({ ...reexporting('four'), 'app/index.mjs': imports('four') })
      assertAll(await site.ask('app/index.mjs'), 'four')
    })

    it('imported late, by a request', async () => {
      await using world = new World()
      const site = new Site(world)
      for (const n of ['one', 'two', 'three']) {
        site.write({
          ...reexporting(n),
          'app/index.cjs': `module.exports = async () => { const { default: pkg } = await import('pkg'); return ['${n}', pkg(), pkg.n] }`,
        })
        assertAll(await site.ask('app/index.cjs'), n)
      }
    })

    it('imported by a load that failed, then by one that succeeds', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({ ...reexporting('one'), 'app/index.mjs': `${imports('one')}\nthrow new Error('early')` })
      assert.equal((await site.fail('app/index.mjs')).message, 'early')
      site.write({ ...reexporting('two'), 'app/index.mjs': imports('two') })
      assertAll(await site.ask('app/index.mjs'), 'two')
    })

    it('without running what the new version no longer imports', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.mjs': `import './left.cjs'\nexport default () => 'one'`,
        'app/left.cjs': `globalThis.evaluated.push('left')`,
      })
      globals.evaluated = []
      await site.load('app/index.mjs')
      site.write({ 'app/index.mjs': `export default () => 'two'` })
      assert.equal(await site.ask('app/index.mjs'), 'two')
      assert.deepEqual(globals.evaluated, ['left'])
    })
  })

  describe('loads anew at its first load what was loaded before:', () => {
    const ways: Record<string, (world: World, file: string) => unknown> = {
      'required by the program around': (_, file) => createRequire(import.meta.url)(file),
      'imported by the program around': async (_, file) => await import(pathToFileURL(file).href),
      'required by another release': async (world, file) => {
        const other = new Site(world, 'taurus.test')
        other.write({ 'app/index.js': `module.exports = () => require(${JSON.stringify(file)})` })
        return await other.ask('app/index.js')
      },
      'required late by an app that has ended': async (world, file) => {
        const site = new Site(world)
        site.write({ 'app/index.js': `module.exports = () => require('./lib')` })
        const late = await site.load('app/index.js')
        site.last?.forget()
        assert.ok(file.startsWith(site.path))
        return await call(late)
      },
    }
    for (const [name, required] of Object.entries(ways)) {
      it(name, async () => {
        await using world = new World()
        const site = new Site(world)
        // Makes sure that the cache holds other modules besides those that follow.
        const other = new Site(world, 'gemini.test')
        other.write({ 'app/index.js': 'module.exports = {}' })
        await other.load('app/index.js')
        site.write({ 'app/lib.js': `exports.n = 'one'` })
        const { n } = (await required(world, join(site.path, 'app/lib.js'))) as { n: string }
        assert.equal(n, 'one')
        site.write({
          'app/index.js': `module.exports = () => require('./lib').n`,
          'app/lib.js': `exports.n = 'two'`,
        })
        assert.equal(await site.ask('app/index.js'), 'two')
      })
    }

    it('again after a first load that failed', async () => {
      await using world = new World()
      const site = new Site(world)
      const lib = join(site.path, 'app/lib.js')
      site.write({ 'app/index.js': `require('./lib'); throw new Error('half a deploy')`, 'app/lib.js': '' })
      createRequire(import.meta.url)(lib)
      await site.fail('app/index.js')
      site.write({
        'app/index.js': `module.exports = () => require('./lib').n`,
        'app/lib.js': `exports.n = 'two'`,
      })
      assert.equal(await site.ask('app/index.js'), 'two')
    })

    it('JSON that the program itself has imported', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/data.json': '{ "n": "one" }',
        'app/index.js': `module.exports = () => require('./data.json').n`,
      })
      const url = pathToFileURL(join(site.path, 'app/data.json')).href
      assert.deepEqual((await import(url, { with: { type: 'json' } })).default, { n: 'one' })
      site.write({ 'app/data.json': '{ "n": "two" }' })
      assert.equal(await site.ask('app/index.js'), 'two')
    })

    it('what a custom loader has put there, as a child of what was required', async () => {
      await using world = new World()
      const site = new Site(world)
      const loader = `
        const Module = require('node:module')
        const file = require('node:path').join(__dirname, 'lib.js')
        const lib = require.cache[file] ?? (require.cache[file] = new Module(file, module))
        lib.filename = file
        if (!lib.loaded) lib._compile(require('node:fs').readFileSync(file, 'utf8'), file)
        lib.loaded = true
        module.exports = () => lib.exports.n`
      site.write({ 'app/index.js': loader, 'app/lib.js': `exports.n = 'one'` })
      createRequire(import.meta.url)(join(site.path, 'app/index.js'))
      for (const n of ['two', 'three']) {
        site.write({ 'app/lib.js': `exports.n = '${n}'` })
        assert.equal(await site.ask('app/index.js'), n)
      }
    })

    it('what an app required and imported after its end', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.js': `module.exports = async () => { await import('./lib.js'); return require('./late').n }`,
        'app/lib.js': `exports.n = 'one'`,
        'app/late.js': `exports.n = require('./lib').n`,
      })
      const old = await site.load('app/index.js')
      site.last?.forget()
      assert.equal(await call(old), 'one')
      site.write({ 'app/lib.js': `exports.n = 'two'` })
      assert.equal(await site.ask('app/index.js'), 'two')
    })

    it('what a release within it has required', async () => {
      await using world = new World()
      const outer = new Site(world)
      const inner = new Site(world, 'aries.test/app/sub')
      outer.write({ 'app/index.js': `module.exports = () => require('./sub/app/lib').n` })
      inner.write({
        'app/lib.js': `exports.n = 'one'`,
        'app/index.js': `module.exports = () => require('./lib').n`,
      })
      assert.equal(await inner.ask('app/index.js'), 'one')
      inner.write({ 'app/lib.js': `exports.n = 'two'` })
      assert.equal(await outer.ask('app/index.js'), 'two')
    })

    it('what a release around it has required', async () => {
      await using world = new World()
      const outer = new Site(world)
      const inner = new Site(world, 'aries.test/app/sub')
      outer.write({
        'app/index.js': `module.exports = () => require('./sub/app/lib').n`,
        'app/sub/app/lib.js': `exports.n = 'one'`,
        'app/sub/app/index.js': `module.exports = () => require('./lib').n`,
      })
      assert.equal(await outer.ask('app/index.js'), 'one')
      inner.write({ 'app/lib.js': `exports.n = 'two'` })
      assert.equal(await inner.ask('app/index.js'), 'two')
    })

    it('before anything was loaded at all', async () => {
      await using world = new World()
      world.write('aries.test/app/lib.js', `exports.n = 'one'`)
      world.write(
        'program.mjs',
        `import { writeFileSync } from 'node:fs'
        import { createRequire } from 'node:module'
        import { FreshImport } from ${JSON.stringify(import.meta.resolve('../../lib/launch/fresh-import.js'))}
        const path = ${JSON.stringify(world.path('aries.test'))}
        createRequire(import.meta.url)(path + '/app/lib.js')
        writeFileSync(path + '/app/lib.js', "exports.n = 'two'")
        writeFileSync(path + '/app/index.js', "module.exports = require('./lib').n")
        console.log(await new FreshImport(path).load(path + '/app/index.js', []))`,
      )
      assert.equal(execFileSync(process.execPath, [world.path('program.mjs')], { encoding: 'utf8' }), 'two\n')
    })
  })

  const loaders: Record<string, string> = {
    // As jiti, tsx and Yarn's PnP do, in one way or another.
    'fills the cache with what has no parent, asking Node for nothing': `
      const file = require('node:path').join(folder, 'lib.js')
      const known = require.cache[file]
      if (known) return known.exports.n
      const lib = require.cache[file] = new Module(file)
      lib.filename = file
      lib._compile(require('node:fs').readFileSync(file, 'utf8'), file)
      return lib.exports.n`,
    'resolves by itself': `
      const { _resolveFilename: before } = Module
      Module._resolveFilename = request => request.startsWith('.') ? require('node:path').join(folder, request) : request
      try { return new Module(folder + '/x').require('./lib.js').n } finally { Module._resolveFilename = before }`,
  }
  for (const [how, source] of Object.entries(loaders)) {
    it(`renews and forgets what a loader brings that ${how}`, async () => {
      await using world = new World()
      const site = new Site(world)
      world.write(
        'loader.cjs',
        `const Module = require('node:module')\nmodule.exports = folder => {${source}}`,
      )
      site.write({
        'app/index.js': `const n = require('../../loader.cjs')(__dirname); module.exports = () => n`,
      })
      for (const n of ['one', 'two', 'three']) {
        site.write({ 'app/lib.js': `exports.n = '${n}'` })
        assert.equal(await site.ask('app/index.js'), n)
      }
      site.last?.forget()
      assert.deepEqual(site.cached, [])
    })
  }

  it('leaves entries of shared modules in the cache as others have made them', async () => {
    await using world = new World()
    const site = new Site(world)
    const { cache } = createRequire(import.meta.url)
    const shared = ['pinned', 'guarded'].map(name => {
      world.write(`node_modules/${name}/index.js`, '')
      return world.path(`node_modules/${name}/index.js`)
    }) as [string, string]
    site.write({
      'app/index.js': `require('pinned'); const n = require('./lib'); try { require('guarded') } catch {} module.exports = () => n`,
      'app/lib.js': `module.exports = 'one'`,
    })
    assert.equal(await site.ask('app/index.js'), 'one')
    Object.defineProperty(cache, shared[0], { configurable: false, writable: false })
    const get = (): never => {
      throw new Error('guarded')
    }
    Object.defineProperty(cache, shared[1], { configurable: true, enumerable: true, get })
    try {
      site.write({ 'app/lib.js': `module.exports = 'two'` })
      assert.equal(await site.ask('app/index.js'), 'two')
      site.last?.forget()
      assert.equal(Object.getOwnPropertyDescriptor(cache, shared[0])?.configurable, false)
      assert.equal(Object.getOwnPropertyDescriptor(cache, shared[1])?.get, get)
    } finally {
      delete cache[shared[1]]
    }
  })

  it('renews what was defined in the cache instead of assigned', async () => {
    await using world = new World()
    const site = new Site(world)
    site.write({
      'app/index.js': `
        const file = require.resolve('./lib.js')
        const lib = new module.constructor(file, null)
        if (!require.cache[file]) {
          Object.defineProperty(require.cache, file, { value: lib, configurable: true, enumerable: true, writable: true })
          lib._compile(require('node:fs').readFileSync(file, 'utf8'), file)
          lib.loaded = true
        }
        module.exports = () => require.cache[file].exports.n`,
    })
    for (const n of ['one', 'two', 'three']) {
      site.write({ 'app/lib.js': `exports.n = '${n}'` })
      assert.equal(await site.ask('app/index.js'), n)
    }
  })

  it('searches again for a new release for what another has found in a package that they share', async () => {
    await using world = new World()
    const [old, newer] = ['releases/1', 'releases/2'].map(name => new Site(world, name)) as [Site, Site]
    for (const site of [old, newer]) site.write({ 'index.js': `module.exports = () => require('pkg/part')` })
    world.write('node_modules/pkg/part.js', `module.exports = 'one'`)
    assert.equal(await old.ask('index.js'), 'one')
    world.remove('node_modules/pkg/part.js')
    world.write('node_modules/pkg/part/index.js', `module.exports = 'two'`)
    assert.equal(await newer.ask('index.js'), 'two')
  })

  it('distinguishes a package from a release that imports itself by the same name', async () => {
    await using world = new World()
    const site = new Site(world)
    site.write({
      'package.json': '{ "name": "pkg", "exports": { "./part": "./part.js" } }',
      'part.js': `module.exports = 'of the release'`,
      'index.js': `const parts = [require('pkg/part'), require('other')]; module.exports = () => parts`,
      'node_modules/other/index.js': `module.exports = require('pkg/part')`,
      'node_modules/pkg/part.js': `module.exports = 'of the package'`,
    })
    assert.deepEqual(await site.ask('index.js'), ['of the release', 'of the package'])
  })

  for (const [system, file, use] of [
    ['CommonJS', 'app/index.js', `const n = require('pkg'); module.exports =`],
    ['ES modules', 'app/index.mjs', `import n from 'pkg'; export default`],
  ] as const) {
    it(`finds a package that was installed nearer, or has been removed there: ${system}`, async () => {
      await using world = new World()
      const site = new Site(world)
      world.write('node_modules/pkg/index.js', `module.exports = 'shared'`)
      site.write({ [file]: `${use} () => n`, 'app/node_modules/other/index.js': '' })
      assert.equal(await site.ask(file), 'shared')
      site.write({
        'app/node_modules/pkg/package.json': '{ "main": "main.js" }',
        'app/node_modules/pkg/main.js': `module.exports = 'own'`,
      })
      assert.equal(await site.ask(file), 'own')
      site.remove('app/node_modules')
      assert.equal(await site.ask(file), 'shared')
    })
  }

  describe('imports again what a generation has had even if it no longer exists:', () => {
    const handler = `async () => {
      const all = [import('pkg'), import('./lib.mjs'), import('more'), import('./data.json', { with: { type: 'json' } })]
      return (await Promise.all(all)).map(module => module.default.n ?? module.default)
    }`
    const entries: Tree = {
      'app/index.cjs': `module.exports = ${handler}`,
      'app/index.mjs': `export default ${handler}`,
    }
    for (const entry of Object.keys(entries)) {
      const started = (world: World): { site: Site; load: () => Promise<unknown> } => {
        const site = new Site(world)
        site.write({
          ...entries,
          'app/lib.mjs': `export default 'one'`,
          'app/data.json': `{ "n": "one" }`,
          'node_modules/pkg/index.js': `module.exports = 'one'`,
          'modules/more/index.js': `module.exports = 'one'`,
        })
        return { site, load: () => site.load(entry, [join(site.path, 'modules')]) }
      }
      const remove = (site: Site): void => {
        for (const path of ['app/lib.mjs', 'app/data.json', 'node_modules', 'modules']) site.remove(path)
      }

      it(entry, async () => {
        await using world = new World()
        const { site, load } = started(world)
        const app = await load()
        assertAll(await call(app), 'one')
        remove(site)
        assertAll(await call(app), 'one')
      })

      it(`${entry}, after a newer one that failed`, async () => {
        await using world = new World()
        const { site, load } = started(world)
        const app = await load()
        assertAll(await call(app), 'one')
        remove(site)
        site.write({ 'app/broken.mjs': `import 'pkg'` })
        await site.fail('app/broken.mjs')
        assertAll(await call(app), 'one')
      })

      it(`${entry}, but not for a generation that has ended, nor for a newer one`, async () => {
        await using world = new World()
        const { site, load } = started(world)
        const ended = await load()
        assertAll(await call(ended), 'one')
        remove(site)
        site.last?.forget()
        await assert.rejects(call(ended), { code: 'ERR_MODULE_NOT_FOUND' })
        await assert.rejects(call(await load()), { code: 'ERR_MODULE_NOT_FOUND' })
      })
    }
  })

  describe('finds where links within the release lead after they were flipped:', () => {
    /** A package as pnpm installs it, and a folder of the app behind a link. */
    const linked = (n: string): Tree => ({
      [`node_modules/.pnpm/pkg@${n}/node_modules/pkg/package.json`]: `
        { "exports": { "import": "./index.mjs", "require": "./index.js" } }`,
      [`node_modules/.pnpm/pkg@${n}/node_modules/pkg/index.js`]: `module.exports = require('./lib')`,
      [`node_modules/.pnpm/pkg@${n}/node_modules/pkg/index.mjs`]: `import n from './lib.js'; export default n`,
      [`node_modules/.pnpm/pkg@${n}/node_modules/pkg/lib.js`]: `module.exports = '${n}'`,
      [`build-${n}/main.js`]: `module.exports = require('pkg') === '${n}' ? '${n}' : 'another package'`,
      [`build-${n}/main.mjs`]: `import n from 'pkg'; export default n === '${n}' ? '${n}' : 'another package'`,
    })
    const entries: Tree = {
      'app/index.cjs': `
        const all = [require('pkg'), require('./build/main'), require('more')]
        module.exports = () => all`,
      'app/index.mjs': `
        import pkg from 'pkg'
        import main from './build/main.mjs'
        import more from 'more'
        export default async () => [pkg, main, more, (await import('./build/main.mjs')).default]`,
      'app/late.cjs': `
        module.exports = async () => {
          const all = await Promise.all([import('pkg'), import('./build/main.mjs'), import('more')])
          return all.map(module => module.default)
        }`,
      'app/required.cjs': `
        const all = [require('./build/main.mjs'), require('./build/main.js')]
        module.exports = () => all.map(main => main.default ?? main)`,
    }
    for (const entry of Object.keys(entries)) {
      it(entry, async () => {
        await using world = new World()
        const site = new Site(world)
        site.write(entries)
        const ask = async (): Promise<unknown> => call(await site.load(entry, [join(site.path, 'modules')]))
        const flip = (n: string): void => {
          site.link('node_modules/pkg', `.pnpm/pkg@${n}/node_modules/pkg`)
          site.link('app/build', `../build-${n}`)
          site.link('modules', `../shared-${n}`)
        }
        for (const n of ['one', 'two', 'three']) {
          site.write(linked(n))
          world.write(`shared-${n}/more/index.js`, `module.exports = '${n}'`)
          flip(n)
          assertAll(await ask(), n)
        }
        flip('two')
        assertAll(await ask(), 'two')
        for (const path of ['node_modules/.pnpm/pkg@one', 'build-one', 'build-three']) site.remove(path)
        assertAll(await ask(), 'two')
      })
    }
  })

  it('renews what another copy of the library has loaded', async () => {
    await using world = new World()
    const site = new Site(world)
    const entry = join(site.path, 'app/index.mjs')
    // A copy of this library inside a release is loaded anew with the release, so there may be several.
    const copies: (typeof FreshImport)[] = [FreshImport]
    for (const name of ['one', 'two'])
      copies.push((await import(`../../lib/launch/fresh-import.js?copy=${name}`)).FreshImport)
    const found: unknown[] = []
    for (const Copy of copies) {
      site.write({ 'app/index.mjs': `export { default } from './part.mjs'` })
      site.write({ 'app/part.mjs': `export default ${found.length}` })
      const modules = new Copy(site.path)
      found.push(((await modules.load(entry, [])) as { default: unknown }).default)
      modules.keep()
      modules.forget()
    }
    assert.deepEqual(found, [0, 1, 2])
  })

  it('leaves another path of the same release alone', async () => {
    await using world = new World()
    const aries = new Site(world, 'aries.test')
    const taurus = new Site(world, 'taurus.test')
    for (const site of [aries, taurus]) {
      site.write({
        'app/index.js': `module.exports = () => require('./lib')`,
        'app/lib.js': 'module.exports = {}',
      })
    }
    const exports = await aries.load('app/index.js')
    const own = await call(exports)
    assert.notEqual(await taurus.ask('app/index.js'), own)
    await taurus.load('app/index.js')
    assert.equal(await call(exports), own)
  })

  it('leaves alone what lies outside the release: it is shared', async () => {
    await using world = new World()
    const site = new Site(world)
    world.write('shared.cjs', 'module.exports = {}')
    world.write('aries.test-2/lib.cjs', 'module.exports = {}')
    site.write({
      'app/index.js': `module.exports = () => [require('../../shared.cjs'), require('../../aries.test-2/lib.cjs')]`,
    })
    const [shared, sibling] = (await site.ask('app/index.js')) as object[]
    const again = (await site.ask('app/index.js')) as object[]
    assert.equal(again[0], shared)
    assert.equal(again[1], sibling)
  })

  it('cannot renew an ES module that is reached by require(), and says which', async t => {
    await using world = new World()
    const site = new Site(world)
    const tree = (n: string): Tree => ({
      'app/index.js': `const lib = require('./lib.mjs'); module.exports = () => ['${n}', lib.n, require('./plain').n]`,
      'app/lib.mjs': `export const n = '${n}'`,
      'app/plain.js': `exports.n = '${n}'`,
    })
    site.write(tree('one'))
    assert.deepEqual(await site.ask('app/index.js'), ['one', 'one', 'one'])
    assert.deepEqual(site.last?.stale, [])
    site.write(tree('two'))
    assert.deepEqual(await site.ask('app/index.js'), ['two', 'one', 'two'])
    assert.deepEqual(site.last?.stale, [join(site.path, 'app/lib.mjs')])
    t.diagnostic('Node keeps it by its plain URL')
  })

  it('cannot see that a package.json now names another file: Node reads each once', async () => {
    await using world = new World()
    const site = new Site(world)
    site.write({
      'app/index.js': `module.exports = () => require('pkg')`,
      'node_modules/pkg/package.json': '{ "main": "one.js" }',
      'node_modules/pkg/one.js': `module.exports = 'one'`,
      'node_modules/pkg/two.js': `module.exports = 'two'`,
    })
    assert.equal(await site.ask('app/index.js'), 'one')
    site.write({ 'node_modules/pkg/package.json': '{ "main": "two.js" }' })
    assert.equal(await site.ask('app/index.js'), 'one')
    const release = new Site(world, 'releases/2')
    release.write({
      'app/index.js': `module.exports = () => require('pkg')`,
      'node_modules/pkg/package.json': '{ "main": "two.js" }',
      'node_modules/pkg/two.js': `module.exports = 'two'`,
    })
    assert.equal(await release.ask('app/index.js'), 'two')
  })

  it('goes by the present type in package.json, although Node has read another', async () => {
    await using world = new World()
    const site = new Site(world)
    site.write({
      'package.json': '{ "type": "commonjs" }',
      'app/index.js': `import { n } from './lib.js'; export default () => n`,
      'app/lib.js': `export const n = 'lib'`,
    })
    assert.match(String(await site.fail('app/index.js')), /outside a module/)
    site.write({ 'package.json': '{ "type": "module" }' })
    assert.equal(await site.ask('app/index.js'), 'lib')
    assert.equal(await site.ask('app/index.js'), 'lib')
  })

  describe('tells modules their real location:', () => {
    it('CommonJS', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.js': `module.exports = () => ({
          file: __filename, folder: __dirname, id: module.id, isMain: require.main === module,
          hasParent: Boolean(module.parent), resolved: require.resolve('./lib'), isCached: module.filename in require.cache })`,
        'app/lib.js': '',
      })
      assert.deepEqual(await site.ask('app/index.js'), {
        file: join(site.path, 'app/index.js'),
        folder: join(site.path, 'app'),
        id: join(site.path, 'app/index.js'),
        isMain: false,
        hasParent: true,
        resolved: join(site.path, 'app/lib.js'),
        isCached: true,
      })
    })

    it('ES modules', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.mjs': `
          import { fileURLToPath } from 'node:url'
          export default () => ({
            file: import.meta.filename, folder: import.meta.dirname, path: fileURLToPath(import.meta.url),
            beside: fileURLToPath(new URL('./views', import.meta.url)),
            resolved: fileURLToPath(import.meta.resolve('./lib.mjs')) })`,
        'app/lib.mjs': '',
      })
      assert.deepEqual(await site.ask('app/index.mjs'), {
        file: join(site.path, 'app/index.mjs'),
        folder: join(site.path, 'app'),
        path: join(site.path, 'app/index.mjs'),
        beside: join(site.path, 'app/views'),
        resolved: join(site.path, 'app/lib.mjs'),
      })
    })

    it('in the stack of an error, with the line', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.cjs': `module.exports = () => {\n  throw new Error('here')\n}`,
        'app/index.mjs': `export default () => {\n  throw new Error('here')\n}`,
      })
      for (const entry of ['app/index.cjs', 'app/index.mjs']) {
        const { stack } = (await site.ask(entry).catch(error => error)) as Error
        assert.match(String(stack), new RegExp(`${join(site.path, entry)}(\\?express-van=\\d+\\.mjs)?:2:9`))
      }
    })
  })

  describe('determines the module system of an entry', () => {
    const commonJS = `module.exports = () => typeof require`
    const esModule = `export default () => typeof require`
    for (const [name, file, source, packageFile, expected] of [
      ['.cjs in a module package', 'app/index.cjs', commonJS, '{ "type": "module" }', 'function'],
      ['.mjs in a CommonJS package', 'app/index.mjs', esModule, '{ "type": "commonjs" }', 'undefined'],
      ['.js in a module package', 'app/index.js', esModule, '{ "type": "module" }', 'undefined'],
      ['.js in a CommonJS package', 'app/index.js', commonJS, '{ "type": "commonjs" }', 'function'],
      ['.js in a package without type, CommonJS', 'app/index.js', commonJS, '{}', 'function'],
      ['.js in a package without type, ES module', 'app/index.js', esModule, '{}', 'undefined'],
    ] as const) {
      it(`as Node does: ${name}`, async () => {
        await using world = new World()
        const site = new Site(world)
        site.write({ [file]: source, 'package.json': packageFile })
        assert.equal(await site.ask(file), expected)
        assert.equal(site.last?.isKeptByNode, expected === 'undefined')
      })
    }
  })

  it('knows that Node keeps the ES modules that a CommonJS app imports', async () => {
    await using world = new World()
    const site = new Site(world)
    site.write({
      'app/index.cjs': `module.exports = name => name ? import(name) : undefined`,
      'app/lib.mjs': `export const n = 1`,
    })
    const exports = await site.load('app/index.cjs')
    assert.equal(site.last?.isKeptByNode, false)
    await call(exports, 'node:fs')
    assert.equal(site.last?.isKeptByNode, false)
    await call(exports, './lib.mjs')
    assert.equal(site.last?.isKeptByNode, true)
  })

  describe('for what a required ES module imports', () => {
    // Node 20 runs hooks in another thread, which does not hear of `require()`.

    it('knows that Node keeps nothing more at each load within a package', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.cjs': `module.exports = require('../node_modules/pkg/required.mjs').late`,
        'node_modules/pkg/required.mjs': `
          import './inner.mjs'
          import './lib.cjs'
          export const late = () => import('./late.mjs')`,
        'node_modules/pkg/inner.mjs': `import './lib.cjs'`,
        'node_modules/pkg/lib.cjs': '',
        'node_modules/pkg/late.mjs': '',
      })
      const late = await site.load('app/index.cjs')
      assert.equal(site.last?.isKeptByNode, false)
      await call(late)
      assert.equal(site.last?.isKeptByNode, true)
    })

    for (const [name, source] of [
      ['of its own', `import './lib.cjs'`],
      ['of another package', `import 'pkg'`],
    ] as const) {
      it(`knows that it would be mixed with what is loaded anew: ${name}`, { skip: noHooks }, async () => {
        await using world = new World()
        const site = new Site(world)
        site.write({
          'app/index.cjs': `require('./required.mjs')`,
          'app/required.mjs': source,
          'app/lib.cjs': '',
          'node_modules/pkg/index.js': '',
        })
        await site.load('app/index.cjs')
        assert.equal(site.last?.isKeptByNode, true)
      })
    }

    it('knows that what could not be linked is imported anew', { skip: noHooks }, async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.cjs': `try { require('../node_modules/pkg/required.mjs') } catch {}`,
        'node_modules/pkg/required.mjs': `import './inner.mjs'\nimport './missing.mjs'`,
        'node_modules/pkg/inner.mjs': '',
      })
      const imported = new Set<string>()
      const { registerHooks } = Module as unknown as {
        registerHooks: (hooks: object) => { deregister(): void }
      }
      const hooks = registerHooks({
        load: (url: string, context: unknown, next: (url: string, context: unknown) => unknown) => {
          if (url.includes('/inner.mjs')) imported.add(url)
          return next(url, context)
        },
      })
      try {
        for (let round = 0; round < 3; round++) {
          await site.load('app/index.cjs')
          // Node 22 does not ask hooks again for the imports of a module that could not be linked.
          assert.equal(site.last?.isKeptByNode, imported.size > 1, `${imported.size}`)
        }
      } finally {
        hooks.deregister()
      }
    })

    it('makes one copy, shared with what the app imports', { skip: noHooks }, async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.cjs': `
          const required = require('./required.mjs')
          module.exports = async () => [required.inner, await import('./inner.mjs'), required.lib, require('./lib.cjs')]`,
        'app/required.mjs': `export * as inner from './inner.mjs'\nexport { default as lib } from './lib.cjs'`,
        'app/inner.mjs': 'export const n = 1',
        'app/lib.cjs': 'module.exports = {}',
      })
      const [inner, sameInner, lib, sameLib] = (await site.ask('app/index.cjs')) as object[]
      assert.equal(inner, sameInner)
      assert.equal(lib, sameLib)
    })

    it('loads it anew for a module that is required for the first time', { skip: noHooks }, async () => {
      await using world = new World()
      const site = new Site(world)
      const tree = (n: string): Tree => ({
        'app/inner.mjs': `export const inner = '${n}'`,
        'app/lib.cjs': `module.exports = '${n}'`,
        [`app/${n}.mjs`]: `export { inner } from './inner.mjs'\nexport { default as lib } from './lib.cjs'`,
        'app/index.cjs': `const { inner, lib } = require('./${n}.mjs'); module.exports = () => ['${n}', inner, lib]`,
      })
      for (const n of ['one', 'two']) {
        site.write(tree(n))
        assertAll(await site.ask('app/index.cjs'), n)
      }
    })
  })

  describe('undo()', () => {
    const lazy = `const lib = require('./lib'); module.exports = () => [lib, require('./lib')]`
    const FAILURES: Record<string, string> = {
      'a syntax error': `require('./lib'); const`,
      'a throw': `require('./lib'); throw new Error('broken')`,
      'a missing module': `require('./lib'); require('./missing')`,
    }
    for (const [name, source] of Object.entries(FAILURES)) {
      it(`gives the old app its own modules back after ${name}`, async () => {
        await using world = new World()
        const site = new Site(world)
        site.write({ 'app/index.js': lazy, 'app/lib.js': `module.exports = { n: 'one' }` })
        const old = await site.load('app/index.js')
        site.write({ 'app/index.js': source, 'app/lib.js': `module.exports = { n: 'two' }` })
        await site.fail('app/index.js')
        const [own, late] = (await call(old)) as object[]
        assert.equal(late, own)
        assert.deepEqual(own, { n: 'one' })
        site.write({ 'app/index.js': lazy, 'app/lib.js': `module.exports = { n: 'three' }` })
        assert.deepEqual(await site.ask('app/index.js'), [{ n: 'three' }, { n: 'three' }])
        assert.deepEqual(await call(old), [{ n: 'one' }, { n: 'one' }])
      })
    }

    it('gives an ES module its own CommonJS and late imports back', async () => {
      await using world = new World()
      const site = new Site(world)
      const tree = (n: string, end = ''): Tree => ({
        'app/index.mjs': `
          import { createRequire } from 'node:module'
          import lib from './lib.cjs'
          import * as esm from './lib.mjs'
          const require = createRequire(import.meta.url)
          export default async () => [lib === require('./lib.cjs'), esm === await import('./lib.mjs'), lib.n, esm.n]
          ${end}`,
        'app/lib.cjs': `exports.n = '${n}'`,
        'app/lib.mjs': `export const n = '${n}'`,
      })
      site.write(tree('one'))
      const old = await site.load('app/index.mjs')
      site.write(tree('two', `throw new Error('broken')`))
      await site.fail('app/index.mjs')
      assert.deepEqual(await call(old), [true, true, 'one', 'one'])
    })

    it('forgets a first load', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({ 'app/index.js': FAILURES['a throw'] as string, 'app/lib.js': `module.exports = 'one'` })
      await site.fail('app/index.js')
      site.write({
        'app/index.js': `module.exports = () => require('./lib')`,
        'app/lib.js': `module.exports = 'two'`,
      })
      assert.equal(await site.ask('app/index.js'), 'two')
    })
  })

  describe('leaves an older generation its own modules', () => {
    const app = (n: number): Tree => ({
      'app/index.js': `const lib = require('./lib'); module.exports = name => [lib.n, require('./lib') === lib, require(name)]`,
      'app/lib.js': `module.exports = { n: ${n} }`,
      'app/late.js': `module.exports = { late: ${n}, lib: require('./lib').n, path: require('node:path').sep }`,
    })

    it('while a newer one loads', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write(app(1))
      const old = await site.load('app/index.js')
      site.write({
        ...app(2),
        'app/next.mjs': `import './lib.js'; await globalThis.gateOfNewer; export default 2`,
      })
      let open = (): void => {}
      const gateOfNewer = new Promise<void>(resolve => {
        open = resolve
      })
      Object.assign(globalThis, { gateOfNewer })
      const newer = new FreshImport(site.path)
      const loading = newer.load(join(site.path, 'app/next.mjs'), [])
      const cache = createRequire(import.meta.url).cache
      await eventually(() => cache[join(site.path, 'app/lib.js')]?.exports.n === 2)
      assert.deepEqual(await call(old, './lib'), [1, true, { n: 1 }])
      assert.equal(cache[join(site.path, 'app/lib.js')]?.exports.n, 2)
      open()
      await loading
      newer.keep()
    })

    it('that an import under way has linked, when its app has ended', { skip: !noHooks }, async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.js': `module.exports = () => import('./late.mjs')`,
        'app/late.mjs': `import { n } from './lib.cjs'; import './slow.mjs'; export default n`,
        'app/lib.cjs': `exports.n = 'one'`,
        'app/slow.mjs': '',
      })
      Module.register(SLOW_LOADER)
      const imported = call(await site.load('app/index.js'))
      await eventually(() => site.cached.includes(join(site.path, 'app/lib.cjs')))
      site.last?.forget()
      const run = linkedRun(site.path)
      site.write({ 'app/go': '' })
      assert.deepEqual({ ...((await imported) as object) }, { default: 'one' })
      await run
      await eventually(() => site.cached.length === 0)
    })

    it('but waits for none that is linked for its names and never runs', { skip: !noHooks }, async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.mjs': `import { n } from './lib.cjs'; export default n`,
        'app/lib.cjs': `
          if (true) module.exports = require('./production.cjs')
          else module.exports = require('./development.cjs')`,
        'app/production.cjs': 'exports.n = 1',
        'app/development.cjs': 'exports.n = 2',
      })
      await site.load('app/index.mjs')
      assert.ok(site.cached.includes(join(site.path, 'app/development.cjs')))
      await eventually(() => !hasLinked(site.path))
      site.last?.forget()
      assert.deepEqual(site.cached, [])
    })

    for (const [when, end] of [
      ['while a newer one loads', (site: Site) => site.load('app/index.mjs')],
      ['when its app has ended', (site: Site) => site.last?.forget()],
    ] as const) {
      it(`that an import has linked but not run, ${when}`, async () => {
        await using world = new World()
        const site = new Site(world)
        const chain = Array.from({ length: 100 }, (_, i) => [`app/${i}.mjs`, `import './${i + 1}.mjs'`])
        site.write({
          'app/index.mjs': `export default () => import('./late.mjs').then(late => late.default)`,
          'app/late.mjs': `import './0.mjs'; export { default } from './a.cjs'`,
          ...Object.fromEntries(chain),
          'app/100.mjs': '',
          'app/a.cjs': `module.exports = require('./b.cjs').text + module.id.endsWith('a.cjs')`,
          'app/b.cjs': `exports.text = 'old '`,
        })
        const ask = (await site.load('app/index.mjs')) as { default: () => Promise<unknown> }
        const late = ask.default()
        while (!site.cached.some(file => file.endsWith('a.cjs'))) await setImmediate()
        await end(site)
        assert.equal(await late, 'old true')
      })
    }

    it('when a load that took too long arrives', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.js': `
          const lib = require('./lib')
          let late
          module.exports = () => require('./late') === (late ??= require('./late')) && late() === lib`,
        'app/lib.js': 'module.exports = {}',
        'app/late.js': `module.exports = () => require('./lib')`,
      })
      const serving = await site.load('app/index.js')
      const late = new FreshImport(site.path)
      await late.load(join(site.path, 'app/index.js'), [])
      late.undo()
      late.forget()
      assert.equal(await call(serving), true)
      late.undo()
      late.forget()
      assert.equal(await call(serving), true)
    })

    it('that it requires while a newer one loads that fails in the end', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.js': `const lib = require('./lib'); module.exports = () => require('./late')(lib)`,
        'app/lib.js': 'module.exports = {}',
        'app/late.js': `let calls = 0; module.exports = lib => [++calls, require('./lib') === lib]`,
      })
      const serving = await site.load('app/index.js')
      const newer = new FreshImport(site.path)
      await newer.load(join(site.path, 'app/index.js'), [])
      assert.deepEqual(await call(serving), [1, true])
      newer.undo()
      assert.deepEqual(await call(serving), [2, true])
      await site.load('app/index.js')
      assert.deepEqual(await call(serving), [3, true])
    })

    const failNewer = async (site: Site): Promise<void> => {
      site.write({ 'app/broken.js': `require('./lib'); require('pkg'); throw new Error('broken')` })
      const newer = new FreshImport(site.path)
      await assert.rejects(newer.load(join(site.path, 'app/broken.js'), []), /broken/)
      newer.undo()
    }
    const ends: Record<string, (site: Site) => Promise<unknown>> = {
      'when a newer one serves': site => site.load('app/index.js'),
      'when a newer one has failed': failNewer,
      'when newer ones have failed and one serves': async site => {
        await failNewer(site)
        await failNewer(site)
        return await site.load('app/index.js')
      },
    }
    for (const [name, end] of Object.entries(ends)) {
      it(`behind links that were flipped, ${name}`, async () => {
        await using world = new World()
        const site = new Site(world)
        const flip = (n: string): void => {
          world.write(`shared-${n}/pkg/index.js`, `module.exports = { n: '${n}' }`)
          site.write({ [`lib-${n}/index.js`]: `module.exports = { n: '${n}' }` })
          site.link('node_modules', `../shared-${n}`)
          site.link('app/lib', `../lib-${n}`)
        }
        world.write('elsewhere/node_modules/pkg/index.js', '')
        site.write({
          'app/index.js': `
            const [lib, pkg] = [require('./lib'), require('pkg')]
            require.resolve('pkg', { paths: ['${world.path('elsewhere')}'] })
            module.exports = () => [require('./lib') === lib, require('pkg') === pkg, lib.n, pkg.n]`,
        })
        flip('one')
        const old = await site.load('app/index.js')
        const { last } = site
        flip('two')
        const newer = await end(site)
        for (const folder of ['shared-one', 'aries.test/lib-one']) world.remove(folder)
        assert.deepEqual(await call(old), [true, true, 'one', 'one'])
        if (newer) assert.deepEqual(await call(newer), [true, true, 'two', 'two'])
        // Until then, the serving app holds its modules.
        last?.forget()
      })
    }

    it('that lies within the folder of another release', async () => {
      await using world = new World()
      const outer = new Site(world)
      const inner = new Site(world, 'aries.test/app/sub')
      outer.write({ 'app/index.js': `module.exports = () => 'outer'` })
      inner.write({
        'app/index.js': `const lib = require('./lib'); module.exports = () => require('./lib') === lib`,
        'app/lib.js': 'module.exports = {}',
      })
      await outer.load('app/index.js')
      const serving = await inner.load('app/index.js')
      for (let round = 0; round < 2; round++) {
        const old = outer.last
        await outer.load('app/index.js')
        old?.forget()
        assert.equal(await call(serving), true)
      }
    })

    it('when a newer one serves, also those that it had not required before', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write(app(1))
      const old = await site.load('app/index.js')
      site.write(app(2))
      const newer = await site.load('app/index.js')
      // The newer module is on disk; what it requires in turn is the old app's own.
      const late = [1, true, { late: 2, lib: 1, path: sep }]
      assert.deepEqual(await call(old, './late'), late)
      assert.deepEqual(await call(newer, './late'), [2, true, { late: 2, lib: 2, path: sep }])
      assert.deepEqual(await call(old, './late.js'), late)
      await assert.rejects(async () => call(old, './missing'), { code: 'MODULE_NOT_FOUND' })
      site.write({ 'app/broken.js': 'throw new Error("broken")' })
      await assert.rejects(async () => call(old, './broken'), /broken/)
      assert.deepEqual(await call(newer, './lib'), [2, true, { n: 2 }])
      assert.deepEqual(await call(old, 'node:path'), [
        1,
        true,
        await import('node:path').then(path => path.default),
      ])
    })
  })

  it('recovers from a failed ES module, whatever failed', async () => {
    await using world = new World()
    const site = new Site(world)
    for (const source of [
      'export default = ',
      `throw new Error('broken')`,
      `import './missing.mjs'`,
      `import { missing } from './lib.mjs'`,
      `import './broken.json'`,
    ]) {
      site.write({ 'app/index.mjs': source, 'app/lib.mjs': '', 'app/broken.json': '{' })
      await site.fail('app/index.mjs')
    }
    site.write({
      'app/index.mjs': `import './broken.cjs'\nexport default () => 'mended'`,
      'app/broken.cjs': '',
    })
    assert.equal(await site.ask('app/index.mjs'), 'mended')
  })

  it('takes no longer if another app has a hundred thousand modules', async () => {
    await using world = new World()
    const [site, other] = ['aries.test', 'taurus.test'].map(name => new Site(world, name)) as [Site, Site]
    for (const one of [site, other]) one.write({ 'app/index.js': 'module.exports = {}' })
    await other.load('app/index.js')
    const tenLoads = async (): Promise<number> => {
      const start = performance.now()
      for (let time = 0; time < 10; time++) {
        await site.load('app/index.js')
        site.last?.forget()
      }
      return performance.now() - start
    }
    await tenLoads()
    const alone = await tenLoads()
    const { cache } = createRequire(import.meta.url)
    for (let n = 0; n < 100_000; n++) {
      cache[join(other.path, `app/${n}.js`)] = { loaded: true, exports: {} } as NodeJS.Module
    }
    const among = await tenLoads()
    other.last?.forget()
    assert.deepEqual(other.cached, [])
    // Going through them at each load and end took 500 ms.
    assert.ok(among < 3 * alone + 60, `${among} ms among others, ${alone} ms alone`)
  })

  describe('forget()', () => {
    it('makes the next load start afresh', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.js': `module.exports = () => require('./lib')`,
        'app/lib.js': 'module.exports = {}',
      })
      const first = await site.ask('app/index.js')
      site.last?.forget()
      assert.deepEqual(site.cached, [])
      assert.notEqual(await site.ask('app/index.js'), first)
    })

    it('leaves what was loaded since', async () => {
      await using world = new World()
      const site = new Site(world)
      site.write({
        'app/index.js': `module.exports = () => require('./lib')`,
        'app/lib.js': 'module.exports = {}',
      })
      await site.load('app/index.js')
      const old = site.last
      const exports = await site.load('app/index.js')
      const own = await call(exports)
      old?.forget()
      assert.equal(await call(exports), own)
    })
  })
})
