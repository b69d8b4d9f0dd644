import assert from 'node:assert/strict'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { NamedLink } from '../../lib/watcher/links-by-name.ts'
import { WatchedFolder } from '../../lib/watcher/watched-folder.ts'

describe('WatchedFolder', () => {
  let path: string
  let folder: WatchedFolder<NamedLink>

  beforeEach(() => {
    path = realpathSync(mkdtempSync(join(tmpdir(), 'express-van-watched-')))
    folder = new WatchedFolder<NamedLink>(path, '', { heard: () => {}, failed: () => {} })
  })

  afterEach(() => {
    folder.close()
    rmSync(path, { recursive: true })
  })

  // If there are many links, they are told apart in another way.
  for (const others of [0, 20]) {
    describe(`with ${others} more links`, () => {
      beforeEach(() => {
        for (let other = 0; other < others; other++) folder.add({ names: [`other-${other}`] })
      })

      it('gives the links for which a name matters', () => {
        const [current, both, all] = [
          { names: ['current'] },
          { names: ['current', 'app'] },
          { names: undefined },
        ]
        for (const link of [current, both, all]) folder.add(link)
        assert.deepEqual(new Set(folder.linksFor('current')), new Set([current, both, all]))
        assert.deepEqual(new Set(folder.linksFor('app')), new Set([both, all]))
        assert.deepEqual(folder.linksFor('anything'), [all])
        folder.remove(both)
        folder.remove(both)
        folder.remove(all)
        assert.deepEqual(folder.linksFor('current'), [current])
        assert.deepEqual(folder.linksFor('app'), [])
        folder.add(both)
        assert.deepEqual(folder.linksFor('app'), [both])
      })

      it('gives all links for an event of the folder itself, which comes with its own name, or with none', () => {
        folder.add({ names: ['current'] })
        for (const name of [null, basename(path)]) assert.equal(folder.linksFor(name).length, others + 1)
      })
    })
  }

  it('goes through thousands of links once, not for each event', () => {
    let asked = 0
    for (let link = 0; link < 5000; link++) {
      const names = [`${link}.test`]
      folder.add({
        get names() {
          asked++
          return names
        },
      })
    }
    for (let link = 0; link < 5000; link++) assert.equal(folder.linksFor(`${link}.test`).length, 1)
    assert.equal(asked, 5000)
  })
})
