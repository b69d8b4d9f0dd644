import assert from 'node:assert/strict'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { treeVersion } from '../lib/tree-version.ts'
import { eventually, World } from './support/world.ts'

describe('treeVersion', () => {
  let vhost: string

  beforeEach(() => {
    vhost = mkdtempSync(join(tmpdir(), 'express-van-tree-'))
    write('app/index.js', 'module.exports = 1')
    write('app/lib/deep/answer.js', 'module.exports = 2')
    write('app/node_modules/dep/index.js', 'module.exports = 3')
    write('app/lib/node_modules/dep/index.js', 'module.exports = 3')
    write('app/tmp/cache.txt', '')
    write('app/.git/HEAD', '')
    write('app/.env', 'A=1')
    write('static/index.html', '')
  })

  afterEach(() => rmSync(vhost, { recursive: true, force: true }))

  function write(file: string, content: string): void {
    mkdirSync(dirname(join(vhost, file)), { recursive: true })
    writeFileSync(join(vhost, file), content)
  }

  const seen: [what: string, act: () => void][] = [
    ['an edit of the entry', () => write('app/index.js', 'module.exports = 4')],
    ['an edit of a file in a folder below', () => write('app/lib/deep/answer.js', 'module.exports = 4')],
    ['an edit that keeps size and modification time', () => editUnseen('app/lib/deep/answer.js')],
    ['a new file', () => write('app/lib/more.js', '')],
    ['a deleted file', () => rmSync(join(vhost, 'app/lib/deep/answer.js'))],
    ['a renamed file', () => renameSync(join(vhost, 'app/index.js'), join(vhost, 'app/main.js'))],
    ['a file that starts with a dot', () => write('app/.env', 'A=2')],
    ['a link that leads nowhere', () => symlinkSync('nowhere', join(vhost, 'app/link.js'))],
    ['an edit of what a link leads to', editLinked],
    ['a changed mode', () => chmodSync(join(vhost, 'app/index.js'), 0o600)],
  ]
  for (const [what, act] of seen) {
    it(`sees ${what}`, async () => {
      if (what.startsWith('an edit of what a link')) linkOut()
      const before = await treeVersion(vhost)
      act()
      assert.notEqual(await treeVersion(vhost), before)
    })
  }

  const ignored: [what: string, act: () => void][] = [
    ['nothing at all', () => {}],
    ['node_modules', () => write('app/node_modules/dep/index.js', 'module.exports = 4')],
    ['node_modules further down', () => write('app/lib/node_modules/dep/index.js', 'module.exports = 4')],
    ['tmp', () => write('app/tmp/cache.txt', 'more')],
    ['dot folders', () => write('app/.git/HEAD', 'more')],
    ['what lies beside the app folder', () => write('static/index.html', 'more')],
    ['the times of a folder beside it', () => utimesSync(join(vhost, 'static'), new Date(), new Date())],
  ]
  for (const [what, act] of ignored) {
    it(`does not look at ${what}`, async () => {
      const before = await treeVersion(vhost)
      act()
      assert.equal(await treeVersion(vhost), before)
    })
  }

  it('does not look at a node_modules that is a link', async () => {
    rmSync(join(vhost, 'app/node_modules'), { recursive: true })
    write('shared/dep/index.js', '')
    symlinkSync(join(vhost, 'shared'), join(vhost, 'app/node_modules'))
    const before = await treeVersion(vhost)
    write('shared/other/index.js', '')
    assert.equal(await treeVersion(vhost), before)
  })

  it('distinguishes a folder from a copy of it', async () => {
    const before = await treeVersion(vhost)
    renameSync(join(vhost, 'app'), join(vhost, 'old'))
    write('app/index.js', 'module.exports = 1')
    assert.notEqual(await treeVersion(vhost), before)
  })

  it('supports another app folder', async () => {
    const before = await treeVersion(vhost, 'static')
    write('app/index.js', 'module.exports = 4')
    assert.equal(await treeVersion(vhost, 'static'), before)
    write('static/index.html', 'more')
    assert.notEqual(await treeVersion(vhost, 'static'), before)
  })

  it('throws ENOENT if the app folder is gone', async () => {
    rmSync(join(vhost, 'app'), { recursive: true })
    await assert.rejects(treeVersion(vhost), { code: 'ENOENT' })
  })

  it('does not fail while files come and go', async () => {
    let isDone = false
    const reading = (async () => {
      while (!isDone) await treeVersion(vhost)
    })()
    for (let round = 0; round < 100; round++) {
      write(`app/coming/file${round}.js`, '')
      await treeVersion(vhost)
      rmSync(join(vhost, 'app/coming'), { recursive: true })
    }
    isDone = true
    await reading
  })

  it('as getVersion, sees an edit in lib/ and takes a deleted app folder for gone', async () => {
    await using world = await World.start({ getVersion: treeVersion, updateInterval: 50 })
    world.write('aries.test/app/lib/answer.js', 'module.exports = "one"')
    world.write(
      'aries.test/app/index.js',
      'const a = require("./lib/answer.js"); module.exports = (_, res) => res.end(a)',
    )
    assert.equal(await world.body('aries.test'), 'one')
    world.write('aries.test/app/lib/answer.js', 'module.exports = "two"')
    await eventually(async () => assert.equal(await world.body('aries.test'), 'two'))
    world.remove('aries.test/app')
    await eventually(async () => assert.equal((await world.get('aries.test')).status, 404))
    assert.deepEqual(world.events('error'), [])
  })

  /** Writes other content of the same size with the same modification time. */
  function editUnseen(file: string): void {
    const time = new Date('2001-01-01')
    write(file, 'module.exports = 9')
    utimesSync(join(vhost, file), time, time)
  }

  function linkOut(): void {
    write('shared/answer.js', 'module.exports = 5')
    symlinkSync('../shared/answer.js', join(vhost, 'app/linked.js'))
  }

  function editLinked(): void {
    write('shared/answer.js', 'module.exports = 6')
  }
})
