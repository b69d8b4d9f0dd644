import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { addPlaces, type Places, type SeenLinks } from '../../lib/watcher/watch-places.ts'
import { FsCalls } from '../support/patched-fs.ts'

describe('addPlaces', () => {
  let base: string

  beforeEach(() => {
    base = realpathSync(mkdtempSync(join(tmpdir(), 'express-van-places-')))
  })

  afterEach(() => rmSync(base, { recursive: true, force: true }))

  function folder(path: string): void {
    mkdirSync(join(base, path), { recursive: true })
  }

  function link(path: string, target: string): void {
    mkdirSync(dirname(join(base, path)), { recursive: true })
    symlinkSync(target, join(base, path))
  }

  /** The places below the base, with `*` if every name in them matters. */
  async function placesOf(
    path: string,
    names?: string[],
    places: Places = new Map(),
  ): Promise<Record<string, string>> {
    await addPlaces(places, join(base, path), names)
    return Object.fromEntries(
      [...places].map(([place, known]) => [
        relative(base, place) || '.',
        known ? [...known].sort().join(' ') : '*',
      ]),
    )
  }

  it('looks at nothing twice for places that are looked up together', async () => {
    link('www/aries.test', '../releases/1')
    folder('releases/1/app')
    using calls = new FsCalls()
    const [places, seen]: [Places, SeenLinks] = [new Map(), new Map()]
    for (const path of ['www/aries.test/app', 'www/aries.test', 'www/aries.test/tmp'])
      await addPlaces(places, join(base, path), [], seen)
    const looks = calls.paths.filter(path => path !== join(base, 'www/aries.test'))
    assert.ok(looks.includes(join(base, 'releases/1/app')))
    assert.deepEqual(looks, [...new Set(looks)])
    // One looks at what is there, one at where the link leads.
    assert.equal(calls.paths.length - looks.length, 2)
  })

  it('watches the folder alone if no link is on the way', async () => {
    folder('www/aries.test/app')
    assert.deepEqual(await placesOf('www/aries.test/app'), { 'www/aries.test/app': '*' })
  })

  it('watches for names alone if some are given', async () => {
    folder('www/aries.test')
    assert.deepEqual(await placesOf('www/aries.test', ['app', 'tmp']), { 'www/aries.test': 'app tmp' })
  })

  it('watches the folder of a link for that link', async () => {
    folder('releases/r1/app')
    link('www/aries.test', '../releases/r1')
    assert.deepEqual(await placesOf('www/aries.test/app'), { www: 'aries.test', 'releases/r1/app': '*' })
  })

  it('follows an absolute link', async () => {
    folder('releases/r1/app')
    link('www/aries.test', join(base, 'releases/r1'))
    assert.deepEqual(await placesOf('www/aries.test/app'), { www: 'aries.test', 'releases/r1/app': '*' })
  })

  it('watches each folder of a chain', async () => {
    folder('releases/r1')
    link('www/aries.test', '../middle/live')
    link('middle/live', '../last/live')
    link('last/live', '../releases/r1')
    assert.deepEqual(await placesOf('www/aries.test'), {
      www: 'aries.test',
      middle: 'live',
      last: 'live',
      'releases/r1': '*',
    })
  })

  it('watches the folder of a link above the vhost', async () => {
    folder('sets/s1/aries.test')
    link('www/now', '../sets/s1')
    assert.deepEqual(await placesOf('www/now/aries.test'), { www: 'now', 'sets/s1/aries.test': '*' })
  })

  it('watches the folder of all releases if the folder around it is watched anyway', async () => {
    folder('www/aries.test/releases/r1')
    link('www/aries.test/current', 'releases/r1')
    assert.deepEqual(await placesOf('www/aries.test/current'), {
      'www/aries.test': 'current releases',
      'www/aries.test/releases/r1': '*',
    })
  })

  it('resolves the steps upwards in a link', async () => {
    folder('www/aries.test/app')
    link('www/taurus.test', './x/../../www/./aries.test')
    folder('www/x')
    assert.deepEqual(await placesOf('www/taurus.test/app'), {
      www: 'aries.test taurus.test x',
      'www/aries.test/app': '*',
    })
  })

  it('watches for what is missing at the point where the way ends', async () => {
    folder('www')
    link('www/aries.test', '../releases/r1')
    assert.deepEqual(await placesOf('www/aries.test/app'), { '.': 'releases www', www: 'aries.test' })
    assert.deepEqual(await placesOf('www/virgo.test/app'), { www: 'virgo.test' })
  })

  it('ends at a loop', async () => {
    link('www/aries.test', 'taurus.test')
    link('www/taurus.test', 'aries.test')
    assert.deepEqual(await placesOf('www/aries.test/app'), { www: 'aries.test taurus.test' })
  })

  it('says whether the way leads anywhere', async () => {
    folder('releases/r1/app')
    link('www/aries.test', '../releases/r1')
    link('www/taurus.test', '../releases/r2')
    const leads = async (path: string) => await addPlaces(new Map(), join(base, path))
    assert.equal(await leads('www/aries.test/app'), true)
    assert.equal(await leads('www/aries.test/lib'), false)
    assert.equal(await leads('www/taurus.test/app'), false)
  })

  it('ends at a file', async () => {
    folder('www')
    writeFileSync(join(base, 'www/aries.test'), '')
    assert.deepEqual(await placesOf('www/aries.test/app'), { 'www/aries.test': 'app' })
  })

  it('merges what is wanted of one folder; all names outweigh some', async () => {
    folder('www/aries.test')
    const places: Places = new Map()
    await placesOf('www/aries.test', ['app'], places)
    assert.deepEqual(await placesOf('www/aries.test', ['tmp'], places), { 'www/aries.test': 'app tmp' })
    assert.deepEqual(await placesOf('www/aries.test', undefined, places), { 'www/aries.test': '*' })
    assert.deepEqual(await placesOf('www/aries.test', ['app'], places), { 'www/aries.test': '*' })
  })
})
