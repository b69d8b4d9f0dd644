import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chownSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { readSmallFile, UnfitFile } from '../../lib/files/small-file.ts'
import { World } from '../support/world.ts'

const onUnix = { skip: process.platform === 'win32' && 'needs Unix' }

describe('readSmallFile', () => {
  it('gives the text of a file of up to one MiB', async () => {
    await using world = new World()
    for (const text of ['', 'ä€😀\n', 'x'.repeat(2 ** 20)]) {
      world.write('file', text)
      assert.equal(await readSmallFile(world.path('file')), text)
    }
    await assert.rejects(readSmallFile(world.path('none')), { code: 'ENOENT' })
  })

  it('reads all of a file that is longer than its size says', {
    skip: process.platform === 'linux' ? false : 'needs /proc, where every file has size 0',
  }, async () => {
    assert.equal(await readSmallFile('/proc/self/environ'), readFileSync('/proc/self/environ', 'utf8'))
  })

  it('refuses one that grows beyond 1 MiB while it is read', async t => {
    await using world = new World()
    world.write('file', 'x'.repeat(2 ** 20))
    const file = await open(world.path('file'))
    const { prototype } = file.constructor
    await file.close()
    const { stat } = prototype
    // As if somebody wrote on between the two.
    t.mock.method(prototype, 'stat', async function (this: unknown) {
      const stats = await stat.call(this)
      world.write('file', 'x'.repeat(2 ** 20 + 1))
      return stats
    })
    await assert.rejects(readSmallFile(world.path('file')), unfit('is larger than 1 MiB'))
  })

  it('refuses what is too large or no file, and keeps nothing open', onUnix, async () => {
    await using world = new World()
    const opened = (): number => readdirSync('/dev/fd').length
    const before = opened()
    world.write('large', 'x'.repeat(2 ** 20 + 1))
    await assert.rejects(readSmallFile(world.path('large')), unfit('is larger than 1 MiB'))
    mkdirSync(world.path('folder'))
    execFileSync('mkfifo', [world.path('pipe')])
    for (const name of ['folder', 'pipe']) {
      await assert.rejects(readSmallFile(world.path(name)), unfit('is not a file'))
    }
    assert.equal(opened(), before)
  })

  it('refuses what belongs neither to the given owner nor to root', {
    skip: process.getuid?.() === 0 ? false : 'needs root',
  }, async () => {
    await using world = new World()
    world.write('file', 'text')
    assert.equal(await readSmallFile(world.path('file'), 65_534), 'text')
    chownSync(world.path('file'), 65_534, 65_534)
    assert.equal(await readSmallFile(world.path('file'), 65_534), 'text')
    assert.equal(await readSmallFile(world.path('file')), 'text')
    await assert.rejects(readSmallFile(world.path('file'), 65_533), unfit('belongs to somebody else'))
  })
})

function unfit(message: string): (error: unknown) => boolean {
  return error => error instanceof UnfitFile && error.message === message
}
