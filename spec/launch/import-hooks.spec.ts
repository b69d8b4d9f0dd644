import assert from 'node:assert/strict'
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { registerImportHooks } from '../../lib/launch/import-hooks.ts'

interface Context {
  readonly conditions: readonly string[]
}
type Next = (specifier: string, context: Context) => unknown

const hookable = Module as unknown as {
  registerHooks(hooks: object): { deregister(): void }
  _resolveFilename(request: string, ...rest: unknown[]): string
}
const skip = 'registerHooks' in Module ? false : 'Node 20 asks no hook'

describe('registerImportHooks', { skip }, () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'import-hooks-')))
  const requireThere = createRequire(join(folder, 'index.js'))
  const asked: string[] = []

  const noting = (name: string): object => ({
    resolve(specifier: string, context: Context, next: Next) {
      asked.push(`${name}: ${context.conditions.includes('import') ? 'import' : 'require'} ${specifier}`)
      return next(specifier, context)
    },
  })
  const write = (file: string, source: string): void => writeFileSync(join(folder, file), source)
  const about = (specifier: string): string[] => asked.filter(line => line.endsWith(` ${specifier}`))

  before(() => registerImportHooks(noting('own')))
  beforeEach(() => {
    asked.length = 0
  })
  after(() => rmSync(folder, { recursive: true }))

  it('does not ask the hooks about what is required', () => {
    write('plain.js', `require('./part.js'); require('node:path'); require('./part.js')`)
    write('part.js', `require('fs')`)
    requireThere('./plain.js')
    requireThere('./plain.js')
    assert.deepEqual(asked, [])
  })

  it('asks the hooks about what a module imports while it is required', async () => {
    write('early.js', `exports.early = import('./early.mjs'); require('./within.js')`)
    write('within.js', `exports.early = import('./within.mjs')`)
    for (const file of ['early.mjs', 'within.mjs']) write(file, '')
    await requireThere('./early.js').early
    await requireThere('./within.js').early
    assert.deepEqual(asked, ['own: import ./early.mjs', 'own: import ./within.mjs'])
  })

  it('asks the hooks about imports after a module was required, from the cache too, and after one was not found', async () => {
    write('late.js', `exports.late = specifier => import(specifier)`)
    for (const file of ['1.mjs', '2.mjs', '3.mjs']) write(file, '')
    const { late } = requireThere('./late.js')
    await late('./1.mjs')
    requireThere('./late.js')
    await late('./2.mjs')
    assert.throws(() => requireThere('./absent.js'), { code: 'MODULE_NOT_FOUND' })
    await late('./3.mjs')
    assert.deepEqual(
      asked,
      [1, 2, 3].map(n => `own: import ./${n}.mjs`),
    )
  })

  it('asks the hooks about what a required ES module imports', () => {
    write('required.mjs', `import './inner.mjs'`)
    write('inner.mjs', '')
    requireThere('./required.mjs')
    assert.deepEqual(asked, ['own: import ./inner.mjs'])
  })

  it('asks the hooks even if somebody else resolves what is required', async () => {
    write('found.js', `exports.early = import('./found.mjs')`)
    write('found.mjs', '')
    const { _resolveFilename } = hookable
    hookable._resolveFilename = function resolve(request, ...rest) {
      if (request === 'elsewhere') return join(folder, 'found.js')
      return Reflect.apply(_resolveFilename, this, [request, ...rest])
    }
    try {
      await requireThere('elsewhere').early
    } finally {
      hookable._resolveFilename = _resolveFilename
    }
    assert.deepEqual(asked, ['own: import ./found.mjs'])
  })

  // Must be the last spec, as from here on the hooks stay.
  it('lets hooks registered later be asked first, whichever name of the function registered them, as long as they last', async () => {
    write('order.js', `exports.late = specifier => import(specifier)`)
    for (const file of ['4.mjs', '5.mjs', '6.mjs']) write(file, '')
    write(
      'others.mjs',
      `import { registerHooks } from 'node:module'
       export const register = hooks => registerHooks(hooks)`,
    )
    const { register } = await import(join(folder, 'others.mjs'))
    const { late } = requireThere('./order.js')
    const others = register(noting('other'))
    await late('./4.mjs')
    requireThere('./part.js')
    await late('./5.mjs')
    others.deregister()
    await late('./6.mjs')
    assert.deepEqual(about('./4.mjs'), ['other: import ./4.mjs', 'own: import ./4.mjs'])
    assert.deepEqual(about('./5.mjs'), ['other: import ./5.mjs', 'own: import ./5.mjs'])
    assert.deepEqual(about('./6.mjs'), ['own: import ./6.mjs'])
  })
})
