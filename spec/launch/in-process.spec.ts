import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import type { VhostError, VhostRouterOptions } from '../../lib/index.ts'
import { vhostRouter } from '../../lib/index.ts'
import { resultOfChild } from '../support/child.ts'
import { eventually, World } from '../support/world.ts'

const HOST = 'aries.test'
const isTypeScriptStripped = Boolean((process.features as { typescript?: unknown }).typescript)

interface Seen {
  half?: boolean
  go?: () => void
  closed?: string[]
  evaluated?: number
}
const globals = globalThis as unknown as { seen: Seen }

/** A world in which only reload() makes anything load anew. */
async function still(options: VhostRouterOptions = {}): Promise<World> {
  globals.seen = {}
  return await World.start({ getVersion: () => 1, watch: false, ...options })
}

async function failureOf(promise: Promise<unknown>): Promise<VhostError> {
  return await promise.then(
    () => assert.fail('it loaded'),
    error => error,
  )
}

function assertNoPath(error: VhostError, world: World): void {
  assert.doesNotMatch(error.message, new RegExp(`${world.base}|node_modules|/`))
}

describe('InProcess', () => {
  describe('loads', () => {
    for (const [name, tree, options] of [
      ['CommonJS', { 'index.js': `module.exports = (req, res) => res.end('answer')` }],
      ['an ES module', { 'index.mjs': `export default (req, res) => res.end('answer')` }],
      [
        'an ES module with top-level await',
        {
          'index.mjs': `const text = await Promise.resolve('answer')\nexport default (req, res) => res.end(text)`,
        },
      ],
      [
        'an ambiguous .js with ES module syntax',
        { 'index.js': `import 'node:fs'\nexport default (req, res) => res.end('answer')` },
      ],
      [
        'a subfolder as moduleName',
        { 'src/main.js': `module.exports = (req, res) => res.end('answer')` },
        { moduleName: 'src/main' },
      ],
      [
        'a named export',
        { 'index.js': `exports.handle = (req, res) => res.end('answer'); exports.app = () => {}` },
        { exportName: 'handle' },
      ],
      [
        'what an async createApp() gives',
        {
          'index.mjs': `export async function createApp() { return (req, res) => res.end('answer') }`,
        },
        { exportName: 'createApp()' },
      ],
    ] as [string, Record<string, string>, VhostRouterOptions?][]) {
      it(name, async () => {
        await using world = await still(options)
        for (const [file, source] of Object.entries(tree)) world.write(`${HOST}/app/${file}`, source)
        assert.equal(await world.body(HOST), 'answer')
      })
    }

    for (const [extension, source] of [
      ['ts', 'export default (_: unknown, res: { end(text: string): void }): void => res.end("answer")'],
      ['mts', 'export default (_: unknown, res: { end(text: string): void }): void => res.end("answer")'],
      ['cts', 'module.exports = (_: unknown, res: { end(text: string): void }): void => res.end("answer")'],
    ] as const) {
      it(`TypeScript as .${extension} if Node strips types, and otherwise says what it needs`, async () => {
        await using world = await still()
        world.write(`${HOST}/app/package.json`, '{ "type": "module" }')
        world.write(`${HOST}/app/index.${extension}`, source)
        if (isTypeScriptStripped) {
          assert.equal(await world.body(HOST), 'answer')
        } else {
          const error = await failureOf(world.vhosts.load(HOST))
          assert.equal(error.code, 'ERR_VHOST_LOAD')
          assert.match(
            error.message,
            /TypeScript needs Node 22\.18 or newer, a loader such as tsx, or a build step/,
          )
          assertNoPath(error, world)
        }
      })
    }

    it('TypeScript on any Node if a loader strips types', async () => {
      await using world = new World()
      world.write(`${HOST}/app/package.json`, '{ "type": "commonjs" }')
      world.write(`${HOST}/app/index.ts`, `type Word = string\nmodule.exports = (() => {}) as Word`)
      const loaded = await resultOfChild(`
        import { readFileSync } from 'node:fs'
        import Module from 'node:module'
        import { vhostRouter } from 'lib/index.js'
        const strip = source => source.replace(/^type .*/m, '').replace(' as Word', '')
        Module._extensions['.ts'] = (module, file) => module._compile(strip(readFileSync(file, 'utf8')), file)
        const vhosts = vhostRouter({ basePath: ${JSON.stringify(world.path('.'))} })
        const release = await vhosts.load('${HOST}')
        await vhosts.close()
        console.log(JSON.stringify(release !== undefined))
      `)
      assert.equal(loaded, true)
    })
  })

  describe('follows links:', () => {
    for (const [system, file, source] of [
      ['CommonJS', 'index.js', `const lib = require('./lib.js'); module.exports = (_, res) => res.end(lib)`],
      [
        'ES modules',
        'index.mjs',
        `import lib from './lib.js'\nexport default (_, res) => res.end(lib + import.meta.dirname.slice(-5, -4))`,
      ],
    ] as const) {
      it(`a flip and a flip back, ${system}`, async () => {
        await using world = await World.start()
        for (const n of [1, 2]) {
          world.write(`releases/${n}/app/${file}`, source)
          world.write(`releases/${n}/app/lib.js`, `module.exports = 'release ${n}'`)
        }
        for (const n of [1, 2, 1, 2]) {
          world.link(HOST, `releases/${n}`)
          await eventually(async () => (await world.body(HOST)).startsWith(`release ${n}`))
        }
      })
    }

    it('of the entry within the release, but not out of it', async () => {
      await using world = await still()
      world.write('outside/index.js', `module.exports = (req, res) => res.end('outside')`)
      world.write(`${HOST}/build/index.js`, `module.exports = (req, res) => res.end('within')`)
      world.link(`${HOST}/app/index.js`, '../build/index.js')
      assert.equal(await world.body(HOST), 'within')
      world.link(`taurus.test/app/index.js`, '../../outside/index.js')
      world.link(`virgo.test/app`, '../outside')
      for (const host of ['taurus.test', 'virgo.test']) {
        const error = await failureOf(world.vhosts.load(host))
        assert.equal(error.code, 'ERR_VHOST_LOAD')
        assert.match(error.message, /lies outside of the release/)
        assertNoPath(error, world)
        assert.equal((await world.get(host)).status, 500)
      }
    })

    for (const [name, repository, link, target, expected] of [
      [
        'loads the packages of a workspace anew whose root is the vhost',
        HOST,
        `${HOST}/app`,
        'site/app',
        'two two',
      ],
      ['shares them where the vhost is one of them', 'repository', HOST, 'repository/site', 'two one'],
    ] as const) {
      it(name, async () => {
        await using world = await still()
        const write = (n: string): void => {
          world.write(`${repository}/lib/index.js`, `module.exports = '${n}'`)
          world.write(
            `${repository}/site/app/index.js`,
            `const lib = require('lib'); module.exports = (_, res) => res.end('${n} ' + lib)`,
          )
        }
        write('one')
        world.link(`${repository}/node_modules/lib`, '../lib')
        world.link(link, target)
        assert.equal(await world.body(HOST), 'one one')
        write('two')
        await world.vhosts.reload(HOST)
        assert.equal(await world.body(HOST), expected)
      })
    }

    it('refuses a moduleName that leads to the neighbour by a link', async () => {
      await using world = await still({ moduleName: 'src/index' })
      world.write('taurus.test/app/src/index.js', `module.exports = (req, res) => res.end('taurus')`)
      world.link(`${HOST}/app/src`, '../../taurus.test/app/src')
      assert.match((await failureOf(world.vhosts.load(HOST))).message, /lies outside of the release/)
    })
  })

  describe('says why a load failed, without a path, and leaves the old app its own modules:', () => {
    const lazy = (n: string): string => `
      const own = require('./lib')
      module.exports = (req, res) => res.end([own === require('./lib'), own.n, '${n}'].join(' '))`
    const lib = (n: string): string => `module.exports = { n: '${n}' }`
    const failures: {
      name: string
      files: Record<string, string>
      code?: string
      cause?: RegExp
      message?: RegExp
    }[] = [
      { name: 'a syntax error', files: { 'index.js': `require('./lib'); const` }, cause: /SyntaxError/ },
      {
        name: 'a throw',
        files: { 'index.js': `require('./lib'); throw new TypeError('broken')` },
        cause: /broken/,
      },
      { name: 'a throw of nothing', files: { 'index.js': `require('./lib'); throw undefined` } },
      {
        name: 'a missing module',
        files: { 'index.js': `require('./lib'); require('./missing')` },
        cause: /Cannot find module/,
      },
      {
        name: 'a missing package',
        files: { 'index.js': `require('./lib'); require('missing')` },
        cause: /Cannot find module/,
      },
      {
        name: 'broken JSON',
        files: { 'index.js': `require('./lib'); require('./data.json')`, 'data.json': '{' },
        cause: /JSON/,
      },
      {
        name: 'a syntax error of an ES module',
        files: {
          'index.mjs': `import './lib.js'\nexport default =`,
          'package.json': '{ "main": "index.mjs" }',
        },
        cause: /SyntaxError/,
      },
      {
        name: 'a throw of an ES module',
        files: {
          'index.mjs': `import './lib.js'\nthrow new Error('broken')`,
          'package.json': '{ "main": "index.mjs" }',
        },
        cause: /broken/,
      },
      {
        name: 'a missing module of an ES module',
        files: {
          'index.mjs': `import './lib.js'\nimport './missing.mjs'`,
          'package.json': '{ "main": "index.mjs" }',
        },
        cause: /Cannot find module/,
      },
      {
        name: 'a missing export',
        files: {
          'index.mjs': `import './lib.js'\nimport { missing } from './some.mjs'`,
          'some.mjs': 'export const other = 1',
          'package.json': '{ "main": "index.mjs" }',
        },
        cause: /missing/,
      },
      {
        name: 'a rejected promise',
        files: { 'index.js': `require('./lib'); module.exports = Promise.reject(new Error('broken'))` },
        cause: /broken/,
      },
      {
        name: 'an object that handles nothing',
        files: { 'index.js': `module.exports = { routes: require('./lib'), name: 1 }` },
        code: 'ERR_VHOST_NO_HANDLER',
        message:
          /exports an object with "routes", "name"; expected a function \(req, res, next\).*http\.Server.*listen\(\)/,
      },
      {
        name: 'a class',
        files: { 'index.js': `require('./lib'); module.exports = class Site {}` },
        code: 'ERR_VHOST_NO_HANDLER',
        message: /exports the class "Site"; expected a function/,
      },
      {
        name: 'a promise of no handler',
        files: { 'index.js': `require('./lib'); module.exports = Promise.resolve(7)` },
        code: 'ERR_VHOST_NO_HANDLER',
        message: /exports a number; expected a function/,
      },
      {
        name: 'an empty file, which a deploy has just opened',
        files: { 'index.js': '' },
        message: /its entry module is empty/,
      },
      {
        name: 'a module that exports nothing',
        files: { 'index.js': `require('./lib')` },
        code: 'ERR_VHOST_NO_HANDLER',
        message: /exports nothing; expected a function/,
      },
      {
        name: 'a promise that never settles',
        files: { 'index.js': `require('./lib'); module.exports = new Promise(() => {})` },
        code: 'ERR_VHOST_LOAD_TIMEOUT',
        message: /more than \d+ ms/,
      },
      {
        name: 'a top-level await that never ends',
        files: {
          'index.mjs': `import './lib.js'\nawait new Promise(() => {})`,
          'package.json': '{ "main": "index.mjs" }',
        },
        code: 'ERR_VHOST_LOAD_TIMEOUT',
        message: /more than \d+ ms/,
      },
    ]
    for (const { name, files, code = 'ERR_VHOST_LOAD', cause, message = /./ } of failures) {
      it(name, async () => {
        await using world = await still({ loadTimeout: code === 'ERR_VHOST_LOAD_TIMEOUT' ? 200 : 20_000 })
        world.write(`${HOST}/app/index.js`, lazy('old'))
        world.write(`${HOST}/app/lib.js`, lib('old'))
        assert.equal(await world.body(HOST), 'true old old')

        world.write(`${HOST}/app/lib.js`, lib('refused'))
        for (const [file, source] of Object.entries(files)) world.write(`${HOST}/app/${file}`, source)
        const error = await failureOf(world.vhosts.reload(HOST))
        assert.equal(error.name, 'VhostError')
        assert.equal(error.code, code)
        assert.match(error.message, message)
        if (cause) assert.match(String(error.cause), cause)
        assertNoPath(error, world)
        assert.equal(await world.body(HOST), 'true old old')

        for (const file of Object.keys(files)) world.remove(`${HOST}/app/${file}`)
        world.write(`${HOST}/app/index.js`, lazy('mended'))
        world.write(`${HOST}/app/lib.js`, lib('mended'))
        await world.vhosts.reload(HOST)
        assert.equal(await world.body(HOST), 'true mended mended')
      })
    }

    it('an entry that a deploy had only begun to write, as soon as the deploy goes on', async () => {
      await using world = await still()
      world.write(`${HOST}/app/index.js`, 'globalThis.seen.half = true\n')
      const failure = failureOf(world.vhosts.load(HOST))
      await eventually(() => globals.seen.half === true)
      world.write(
        `${HOST}/app/index.js`,
        `globalThis.seen.half = true\nmodule.exports = (req, res) => res.end('whole')`,
      )
      assert.match((await failure).message, /its entry module changed while it was loaded/)
      await world.vhosts.reload(HOST)
      assert.equal(await world.body(HOST), 'whole')
    })

    it('an exportName that does not exist, or is no handler', async () => {
      await using world = await still({ exportName: 'handle' })
      world.write(`${HOST}/app/index.js`, `exports.other = () => {}`)
      world.write(`taurus.test/app/index.js`, `exports.handle = 'text'`)
      const missing = await failureOf(world.vhosts.load(HOST))
      assert.equal(missing.code, 'ERR_VHOST_NO_HANDLER')
      assert.match(
        missing.message,
        /export 'handle' is nothing, the module exports an object with "other"; expected a function/,
      )
      const text = await failureOf(world.vhosts.load('taurus.test'))
      assert.match(text.message, /export 'handle' is a string; expected a function/)
    })

    it('a createApp() that throws, or returns nothing', async () => {
      await using world = await still({ exportName: 'createApp()' })
      world.write(
        `${HOST}/app/index.js`,
        `exports.createApp = async () => { throw new Error('no database') }`,
      )
      world.write(`taurus.test/app/index.js`, `exports.createApp = () => {}`)
      const thrown = await failureOf(world.vhosts.load(HOST))
      assert.equal(thrown.code, 'ERR_VHOST_LOAD')
      assert.match(String(thrown.cause), /no database/)
      const nothing = await failureOf(world.vhosts.load('taurus.test'))
      assert.equal(nothing.code, 'ERR_VHOST_NO_HANDLER')
      assert.match(nothing.message, /export 'createApp\(\)' is nothing; expected a function/)
    })

    it('a broken package.json', async () => {
      await using world = await still()
      world.write(`${HOST}/app/package.json`, '{ "type": ')
      world.write(`${HOST}/app/index.js`, `module.exports = () => {}`)
      const error = await failureOf(world.vhosts.load(HOST))
      assert.equal(error.code, 'ERR_VHOST_LOAD')
      assert.match(String(error.cause), /package/i)
      assertNoPath(error, world)
    })

    it('no entry: says what was looked for', async () => {
      await using world = await still()
      world.write(`${HOST}/app/main.js`, '')
      const error = await failureOf(world.vhosts.load(HOST))
      assert.equal(error.code, 'ERR_VHOST_LOAD')
      assert.match(error.message, /no entry module; looked for app, index, server with \.js \.cjs \.mjs/)
      assertNoPath(error, world)
    })
  })

  it('survives CommonJS that throws while an ES module imports it, on Node 20 too', async () => {
    await using world = new World()
    world.write(`${HOST}/app/index.mjs`, `import './broken.cjs'`)
    world.write(`${HOST}/app/broken.cjs`, `throw new Error('broken')`)
    const index = JSON.stringify(join(import.meta.dirname, '../../lib/index.js'))
    const code = `
      import { vhostRouter } from ${index}
      const vhosts = vhostRouter({ basePath: ${JSON.stringify(world.path())} }).on('error', () => {})
      await vhosts.load('${HOST}').catch(error => console.log(error.code, error.cause.message))
      await new Promise(resolve => setTimeout(resolve, 50))
      console.log('still there')
      Promise.reject(new Error('of somebody else'))`
    const ended = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code]).catch(
      error => error,
    )
    assert.equal(ended.stdout, 'ERR_VHOST_LOAD broken\nstill there\n')
    assert.match(ended.stderr, /Error: of somebody else/)
  })

  describe('closes an app that arrives too late:', () => {
    for (const [system, file, source] of [
      [
        'CommonJS',
        'index.js',
        `
        const app = (req, res) => res.end('late')
        app.close = () => { globalThis.seen.closed = ['late'] }
        module.exports = new Promise(resolve => { globalThis.seen.go = () => resolve(app) })`,
      ],
      [
        'ES modules',
        'index.mjs',
        `
        export const close = () => { globalThis.seen.closed = ['late'] }
        await new Promise(resolve => { globalThis.seen.go = resolve })
        export default (req, res) => res.end('late')`,
      ],
    ] as const) {
      it(system, async () => {
        await using world = await still({ loadTimeout: 100 })
        world.write(`${HOST}/app/${file}`, source)
        const { status, headers } = await world.get(HOST)
        assert.deepEqual([status, headers['retry-after']], [503, '1'])
        assert.equal(globals.seen.closed, undefined)
        // On a busy machine, the module may not even have run by then.
        await eventually(() => globals.seen.go !== undefined)
        globals.seen.go?.()
        await eventually(() => globals.seen.closed !== undefined)
        assert.deepEqual(world.events('load'), [])
        assert.equal(world.vhosts.stats().staleGraphs, system === 'CommonJS' ? 0 : 1)
      })
    }

    it('and what it still loads does not reach the app that was loaded since', async () => {
      await using world = await still({ loadTimeout: 100, updateInterval: 1 })
      world.write(`${HOST}/app/lib.js`, `module.exports = { n: 'late' }`)
      world.write(
        `${HOST}/app/index.js`,
        `module.exports = new Promise(resolve => { globalThis.seen.go = () => { require('./lib'); resolve(() => {}) } })`,
      )
      assert.equal((await failureOf(world.vhosts.load(HOST))).code, 'ERR_VHOST_LOAD_TIMEOUT')
      world.write(`${HOST}/app/lib.js`, `module.exports = { n: 'good' }`)
      world.write(
        `${HOST}/app/index.js`,
        `const own = require('./lib'); module.exports = (req, res) => res.end([own === require('./lib'), own.n].join(' '))`,
      )
      await eventually(async () => (await world.body(HOST)) === 'true good')
      globals.seen.go?.()
      await new Promise(resolve => setImmediate(resolve))
      assert.equal(await world.body(HOST), 'true good')
    })
  })

  describe('close()', () => {
    const closes = (how: string, n: number): string => {
      const note = `() => { (globalThis.seen.closed ??= []).push('${how} ${n}') }`
      const app = `const app = (req, res) => res.end('${how} ${n}')`
      const sources: Record<string, string> = {
        'an export': `${app}; module.exports = { app, close: ${note} }`,
        'an export of an ES module': `${app}; export default app; export const close = ${note}`,
        'a member of module.exports': `${app}; app.close = ${note}; module.exports = app`,
        'Symbol.asyncDispose': `${app}; app[Symbol.asyncDispose] = ${note}; app.close = () => { throw new Error('not me') }; module.exports = app`,
        'an export before the handler': `${app}; app.close = () => { throw new Error('not me') }; module.exports = { app, close: ${note} }`,
        'the handler of a promise': `${app}; app.close = ${note}; module.exports = Promise.resolve(app)`,
        'a member of a promise': `${app}; module.exports = Promise.resolve(app); module.exports.close = ${note}`,
        'an export beside a server': `require('node:http').createServer((req, res) => res.end('${how} ${n}')).listen(80); exports.close = ${note}`,
      }
      return sources[how] as string
    }
    for (const how of [
      'an export',
      'an export of an ES module',
      'a member of module.exports',
      'Symbol.asyncDispose',
      'an export before the handler',
      'the handler of a promise',
      'a member of a promise',
      'an export beside a server',
    ]) {
      it(`is called once, for the generation that ended: ${how}`, async () => {
        await using world = await still()
        const file = `${HOST}/app/index.${how.includes('ES module') ? 'mjs' : 'js'}`
        world.write(file, closes(how, 1))
        assert.equal(await world.body(HOST), `${how} 1`)
        world.write(file, closes(how, 2))
        const evicted = world.event('evict')
        await world.vhosts.reload(HOST)
        await evicted
        assert.equal(await world.body(HOST), `${how} 2`)
        assert.deepEqual(globals.seen.closed, [`${how} 1`])
        world.write(file, `throw new Error('broken')`)
        await failureOf(world.vhosts.reload(HOST))
        assert.deepEqual(globals.seen.closed, [`${how} 1`])
        await world.vhosts.close()
        assert.deepEqual(globals.seen.closed, [`${how} 1`, `${how} 2`])
      })
    }
  })

  describe('when an app was evicted although nothing had changed', () => {
    const counting = `globalThis.seen.evaluated = (globalThis.seen.evaluated ?? 0) + 1`
    async function twoRounds(options: VhostRouterOptions, files: Record<string, string>): Promise<number> {
      await using world = await still({ maxApps: 1, ...options })
      for (const [file, source] of Object.entries(files)) world.write(`${HOST}/app/${file}`, source)
      world.site('taurus.test', 'taurus')
      for (let round = 0; round < 2; round++) {
        assert.equal(await world.body(HOST), 'answer')
        const evicted = world.event('evict', ({ hostnames }) => hostnames.includes(HOST))
        await world.body('taurus.test')
        assert.equal((await evicted).reason, 'lru')
      }
      assert.equal(await world.body(HOST), 'answer')
      return world.vhosts.stats().staleGraphs
    }

    it('reuses the ES modules that Node keeps', async () => {
      const stale = await twoRounds(
        {},
        { 'index.mjs': `${counting}\nexport default (_, res) => res.end('answer')` },
      )
      assert.deepEqual([globals.seen.evaluated, stale], [1, 0])
    })

    it('reuses them after an ES module app has listened', async () => {
      const stale = await twoRounds(
        {},
        {
          'index.mjs': `import http from 'node:http'\n${counting}\nhttp.createServer((_, res) => res.end('answer')).listen(80)`,
        },
      )
      assert.deepEqual([globals.seen.evaluated, stale], [1, 0])
    })

    it('reuses those that a CommonJS app imports', async () => {
      const stale = await twoRounds(
        {},
        {
          'index.js': `module.exports = async (_, res) => { await import('./lib.mjs'); res.end('answer') }`,
          'lib.mjs': counting,
        },
      )
      assert.deepEqual([globals.seen.evaluated, stale], [1, 0])
    })

    it('lets them import late, after their reuse, what is theirs', async () => {
      await using world = await still({ maxApps: 1 })
      world.site('taurus.test', 'taurus')
      world.write(
        `${HOST}/app/index.mjs`,
        `
        import { state } from './state.mjs'
        export default async (req, res) => {
          const late = req.url === '/late' ? await import('./late.mjs') : undefined
          res.end(late ? String(late.state === state) : 'answer')
        }`,
      )
      world.write(`${HOST}/app/late.mjs`, `export { state } from './state.mjs'`)
      world.write(`${HOST}/app/state.mjs`, 'export const state = {}')
      await world.body(HOST)
      const evicted = world.event('evict')
      await world.body('taurus.test')
      await evicted
      assert.equal(await world.body(HOST, '/late'), 'true')
    })

    it('loads CommonJS anew, which Node lets go', async () => {
      const stale = await twoRounds(
        {},
        { 'index.js': `${counting}; module.exports = (_, res) => res.end('answer')` },
      )
      assert.deepEqual([globals.seen.evaluated, stale], [3, 0])
    })

    it('loads an ES module app anew if its close() has run, and counts what Node keeps', async () => {
      const stale = await twoRounds(
        {},
        {
          'index.mjs': `${counting}\nexport const close = () => {}\nexport default (_, res) => res.end('answer')`,
        },
      )
      assert.deepEqual([globals.seen.evaluated, stale], [3, 2])
    })

    it('loads it anew if the version has changed meanwhile', async () => {
      let version = 1
      await using world = await still({
        maxApps: 1,
        getVersion: realPath => (realPath.endsWith(HOST) ? version : 0),
      })
      world.site('taurus.test', 'taurus')
      const answers: string[] = []
      for (const n of ['one', 'two']) {
        world.write(`${HOST}/app/index.mjs`, `export default (_, res) => res.end('${n}')`)
        answers.push(await world.body(HOST))
        const evicted = world.event('evict', ({ hostnames }) => hostnames.includes(HOST))
        await world.body('taurus.test')
        await evicted
        version++
      }
      assert.deepEqual(answers, ['one', 'two'])
      assert.equal(world.vhosts.stats().staleGraphs, 1)
    })
  })

  it('keeps two routers of one process apart', async () => {
    await using world = await still()
    await using other = await still()
    const source = (n: string): string => `
      const own = require('./lib')
      const state = { n: 0 }
      module.exports = (req, res) => res.end([own === require('./lib'), own, ++state.n, '${n}'].join(' '))`
    for (const { path, n } of [
      { path: world, n: 'world' },
      { path: other, n: 'other' },
    ]) {
      path.write(`${HOST}/app/index.js`, source(n))
      path.write(`${HOST}/app/lib.js`, `module.exports = '${n}'`)
    }
    assert.equal(await world.body(HOST), 'true world 1 world')
    assert.equal(await other.body(HOST), 'true other 1 other')
    await other.vhosts.close()
    assert.equal(await world.body(HOST), 'true world 2 world')
    assert.equal(other.vhosts.stats().staleGraphs, 0)
  })

  it('lets two routers serve one folder, each with its own instance', async () => {
    await using world = await still()
    world.write(
      `${HOST}/app/index.mjs`,
      `let n = 0\nexport default async (_, res) => res.end([++n, (await import('./lib.mjs')).count()].join(' '))`,
    )
    world.write(`${HOST}/app/lib.mjs`, 'let n = 0\nexport const count = () => ++n')
    assert.equal(await world.body(HOST), '1 1')
    const other = vhostRouter({ basePath: world.path() })
    assert.ok(await other.load(HOST))
    assert.equal(await world.body(HOST), '2 2')
    await other.reload(HOST)
    await other.close()
    assert.equal(other.stats().staleGraphs, 2)
    assert.equal(await world.body(HOST), '3 3')
    assert.equal(world.vhosts.stats().staleGraphs, 0)
  })

  it('leaves a router its package folders when another router of the same folder is closed', async () => {
    await using world = await still({ modulesDir: 'vendor' })
    world.write(`${HOST}/vendor/one/index.js`, `module.exports = 'one'`)
    world.write(`${HOST}/vendor/two/package.json`, '{ "type": "module", "exports": "./index.js" }')
    world.write(`${HOST}/vendor/two/index.js`, `export default 'two'`)
    world.write(
      `${HOST}/app/index.js`,
      `module.exports = async (req, res) => res.end(require('one') + ' ' + (await import('two')).default)`,
    )
    await world.vhosts.load(HOST)
    const other = vhostRouter({ basePath: world.path(), modulesDir: 'vendor' })
    await other.load(HOST)
    await other.close()
    assert.equal(await world.body(HOST), 'one two')
    assert.deepEqual(world.errors, [])
  })

  it('leaves a router its folders of packages when an app brings a router, and a copy of the library, of its own', async () => {
    await using world = await still({ modulesDir: 'vendor' })
    const library = JSON.stringify(new URL('../../lib/index.js', import.meta.url))
    world.write(
      'inner.test/app/index.mjs',
      `import { vhostRouter } from ${library}
       const sites = vhostRouter({ basePath: new URL('../sites', import.meta.url).pathname })
       export default sites
       export const close = () => sites.close()`,
    )
    world.write('inner.test/sites/inner.test/app/index.js', `module.exports = (req, res) => res.end('inner')`)
    assert.equal(await world.body('inner.test'), 'inner')
    world.write(`${HOST}/vendor/two/index.js`, `module.exports = 'two'`)
    world.write(`${HOST}/app/index.mjs`, `import two from 'two'\nexport default (req, res) => res.end(two)`)
    assert.equal(await world.body(HOST), 'two')
    world.write(`${HOST}/vendor/two/index.js`, `module.exports = 'new'`)
    await world.vhosts.reload(HOST)
    assert.equal(await world.body(HOST), 'new')
    assert.equal(world.vhosts.stats().staleGraphs, 1)
  })
})
