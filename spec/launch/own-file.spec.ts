import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import Module from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { ownFile } from '../../lib/launch/own-file.ts'

const message = /cannot find its own file .*: if it was bundled, mark it as external/

/** A module of the library under another name, and without the files that Node loads itself, as after bundling. */
async function importBundled(module: string): Promise<Record<string, (given: object) => unknown>> {
  const temporary = mkdtempSync(join(tmpdir(), 'express-van-bundled-'))
  try {
    cpSync(resolve('.build/lib'), temporary, { recursive: true })
    rmSync(join(temporary, 'entry', 'boot.cjs'))
    renameSync(join(temporary, 'launch', `${module}.js`), join(temporary, 'launch', 'bundle.js'))
    return await import(pathToFileURL(join(temporary, 'launch', 'bundle.js')).href)
  } finally {
    rmSync(temporary, { recursive: true })
  }
}

describe('A file that Node loads itself', () => {
  it('is found beside the module that needs it', () => {
    const url = ownFile('../../lib/launch/generation-hook.js', import.meta.url)
    assert.equal(url.href, new URL('../../lib/launch/generation-hook.js', import.meta.url).href)
  })

  it('is reported with what to do if the library is in a bundle', async () => {
    assert.throws(() => ownFile('./no-such-file.js', import.meta.url), { message })
    const { preload } = await importBundled('runner')
    assert.throws(() => preload?.({}), { message })
  })

  it('is reported before a thread for hooks would run the bundle', {
    skip: 'registerHooks' in Module && 'hooks need no thread here',
  }, async () => {
    const { hookGenerations } = await importBundled('generation-hook')
    assert.throws(() => hookGenerations?.({}), { message })
  })
})
