import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import Module from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { ownFile } from '../../lib/launch/own-file.ts'

const message = /cannot find a file of its own, .*: where it is part of a bundle, .* external/

/** The modules of a folder of the library, one of them under another name, as it is where a bundler has put it elsewhere. */
async function importMoved(folder: string, module: string): Promise<Record<string, () => unknown>> {
  const temporary = mkdtempSync(join(tmpdir(), 'express-van-moved-'))
  try {
    cpSync(resolve('.build/lib', folder), temporary, { recursive: true })
    renameSync(join(temporary, `${module}.js`), join(temporary, 'bundle.js'))
    return await import(pathToFileURL(join(temporary, 'bundle.js')).href)
  } finally {
    rmSync(temporary, { recursive: true })
  }
}

describe('A file that Node is to load', () => {
  it('is found beside the module that needs it', () => {
    const url = ownFile('../../lib/launch/generation-hook.js', import.meta.url)
    assert.equal(url.href, new URL('../../lib/launch/generation-hook.js', import.meta.url).href)
  })

  it('is told of, and what to do, where the library is in a bundle', async () => {
    assert.throws(() => ownFile('./no-such-file.js', import.meta.url), { message })
    const runner = await importMoved('launch', 'runner')
    assert.throws(() => runner.preload?.(), { message })
  })

  it('is told of before a thread for hooks would run the bundle', {
    skip: 'registerHooks' in Module && 'hooks need no thread here',
  }, async () => {
    const hook = await importMoved('launch', 'generation-hook')
    assert.throws(() => hook.hookGenerations?.(), { message })
  })
})
