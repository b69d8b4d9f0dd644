import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { moduleTypeOf } from '../../lib/launch/module-type.ts'
import { World } from '../support/world.ts'

describe('moduleTypeOf', () => {
  it('goes by the extension, then by the nearest package.json up to node_modules', async () => {
    await using world = new World()
    world.write('module/package.json', '{ "type": "module" }')
    world.write('module/node_modules/typed/package.json', '{ "type": "commonjs" }')
    world.write('module/silent/package.json', '{}')
    world.write('module/broken/package.json', '{')
    world.write('module/marked/package.json', '\ufeff{ "type": "commonjs" }')
    const rows: [file: string, type: string | undefined][] = [
      ['module/app/index.js', 'module'],
      ['module/app/index.cjs', 'commonjs'],
      ['module/app/index.cts', 'commonjs'],
      ['module/node_modules/typed/lib/index.js', 'commonjs'],
      ['module/node_modules/typed/index.mjs', 'module'],
      ['module/node_modules/typed/index.mts', 'module'],
      ['module/node_modules/untyped/index.js', undefined],
      ['module/silent/index.js', undefined],
      ['module/broken/index.js', undefined],
      ['module/marked/index.js', 'commonjs'],
    ]
    for (const [file, type] of rows) assert.equal(moduleTypeOf(world.path(file)), type, file)
  })
})
