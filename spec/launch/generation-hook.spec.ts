import assert from 'node:assert/strict'
import Module from 'node:module'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { resultOfChild } from '../support/child.ts'
import { World } from '../support/world.ts'

describe('hookGenerations', () => {
  it('fails every load, not only the first, if Node accepts no hook, as under Jest', async () => {
    // A fresh copy, which has not been called yet.
    const copy: string = '../../lib/launch/generation-hook.js?copy'
    const { hookGenerations } = await import(copy)
    const hookable = Module as unknown as Record<string, unknown>
    const name = 'registerHooks' in Module ? 'registerHooks' : 'register'
    const usual = hookable[name]
    hookable[name] = () => {
      throw new Error('not supported')
    }
    try {
      for (let load = 0; load < 2; load++) assert.throws(hookGenerations, /not supported/)
    } finally {
      hookable[name] = usual
    }
  })

  it('shows its URLs to a hook further in that recognizes by them which modules it wraps', async () => {
    await using world = new World()
    world.write('middle.mjs', MIDDLE)
    world.write('aries.test/app/index.mjs', `export { value } from 'pkg'\nexport { lib } from './lib.mjs'`)
    world.write('aries.test/app/lib.mjs', 'export const lib = 1')
    world.write('aries.test/node_modules/pkg/index.js', 'exports.value = 1')
    const answers = await resultOfChild(`
      import { writeFileSync } from 'node:fs'
      import Module from 'node:module'
      import { FreshImport } from 'lib/launch/fresh-import.js'
      const middle = ${JSON.stringify(pathToFileURL(world.path('middle.mjs')).href)}
      if (Module.registerHooks) Module.registerHooks(await import(middle))
      else Module.register(middle)
      const load = async () => {
        const modules = new FreshImport(${JSON.stringify(world.path('aries.test'))})
        const { value, lib } = await modules.load(${JSON.stringify(world.path('aries.test/app/index.mjs'))}, [])
        modules.keep()
        return [value, lib]
      }
      const first = await load()
      writeFileSync(${JSON.stringify(world.path('aries.test/app/lib.mjs'))}, 'export const lib = 2')
      writeFileSync(${JSON.stringify(world.path('aries.test/node_modules/pkg/index.js'))}, 'exports.value = 2')
      console.log(JSON.stringify([first, await load()]))
    `)
    assert.deepEqual(answers, [
      [1, 1],
      [2, 2],
    ])
  })

  it('leaves its files to a loader that recognizes URLs by their ending, and resolves what that imports', async () => {
    await using world = new World()
    world.write('loader.mjs', LOADER)
    world.write('aries.test/app/index.words', './more.words')
    world.write('aries.test/app/more.words', 'one')
    const answers = await resultOfChild(`
      import { writeFileSync } from 'node:fs'
      import Module from 'node:module'
      import { FreshImport } from 'lib/launch/fresh-import.js'
      const loader = ${JSON.stringify(pathToFileURL(world.path('loader.mjs')).href)}
      if (Module.registerHooks) Module.registerHooks(await import(loader))
      else Module.register(loader)
      const load = async () => {
        const modules = new FreshImport(${JSON.stringify(world.path('aries.test'))})
        const { words } = await modules.load(${JSON.stringify(world.path('aries.test/app/index.words'))}, [])
        modules.keep()
        return words
      }
      const first = await load()
      writeFileSync(${JSON.stringify(world.path('aries.test/app/more.words'))}, 'two')
      console.log(JSON.stringify([first, await load()]))
    `)
    assert.deepEqual(answers, ['one', 'two'])
  })
})

/** In the manner of jiti, and of the loaders in Node's own documentation: it knows nothing of queries. */
const LOADER = `
import { readFileSync } from 'node:fs'
export function resolve(specifier, context, next) {
  if (!/\\.words(\\?.*)?$/.test(specifier)) return next(specifier, context)
  const { href } = new URL(specifier.replace(/\\?.*/, ''), context.parentURL)
  return { url: href, shortCircuit: true }
}
export function load(url, context, next) {
  if (!url.endsWith('.words')) return next(url, context)
  const text = readFileSync(new URL(url), 'utf8')
  const source = text.startsWith('./')
    ? 'export * from ' + JSON.stringify(text)
    : 'export const words = ' + JSON.stringify(text)
  return { format: 'module', source, shortCircuit: true }
}
`

/** In the manner of import-in-the-middle: it fails if it has not found a module by the URL that it is to load. */
const MIDDLE = `
const found = new Set()
const plain = url => url.replace(/([?&])middle=1&?/, '$1').replace(/[?&]$/, '')
const put = (resolved, { parentURL = '' }) => {
  if (!resolved.url.startsWith('file:') || !parentURL.includes('/aries.test/') || parentURL.includes('middle=1'))
    return resolved
  found.add(resolved.url)
  return { ...resolved, url: resolved.url + (resolved.url.includes('?') ? '&' : '?') + 'middle=1' }
}
export function resolve(specifier, context, next) {
  const resolved = next(plain(specifier), context)
  return resolved.then ? resolved.then(late => put(late, context)) : put(resolved, context)
}
export function load(url, context, next) {
  if (!url.includes('middle=1')) return next(url, context)
  if (!found.has(plain(url))) throw new Error('never found: ' + plain(url))
  const source = 'export * from ' + JSON.stringify(plain(url))
  return { format: 'module', source, shortCircuit: true }
}
`
