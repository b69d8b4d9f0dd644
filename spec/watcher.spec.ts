import assert from 'node:assert/strict'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Places } from '../lib/watcher/watch-places.ts'
import { Watcher } from '../lib/watcher.ts'
import { resultOfChild, runChild } from './support/child.ts'
import { PatchedFs } from './support/patched-fs.ts'
import { eventually, World } from './support/world.ts'

const LONG = 60_000
const onLinux = { skip: process.platform !== 'linux' && 'inotify is of Linux' }

let base: string
let watcher: Watcher | undefined
/** How often each key was compared. */
let compared: Map<string, number>

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'express-van-watcher-')))
  compared = new Map()
})

afterEach(() => {
  watcher?.close()
  watcher = undefined
  rmSync(base, { recursive: true, force: true })
})

function at(...parts: string[]): string {
  return join(base, ...parts)
}

function folder(name: string): string {
  mkdirSync(at(name), { recursive: true })
  return at(name)
}

function timesOf(key: string): number {
  return compared.get(key) ?? 0
}

/** What a comparison does after it has been counted, by key. */
type Doing = Record<string, () => Promise<unknown>>

function start(settings: { updateInterval?: number; watch?: boolean } = {}, doing: Doing = {}): Watcher {
  watcher = new Watcher({ basePath: base, updateInterval: LONG, watch: true, ...settings }, async key => {
    compared.set(key, timesOf(key) + 1)
    await doing[key]?.()
  })
  return watcher
}

function watched(
  places: Record<string, string[] | undefined>,
  isComplete = true,
): Parameters<Watcher['watch']>[1] {
  const found: Places = new Map(Object.entries(places))
  return { isComplete: () => isComplete, places: async () => new Map(found), above: base }
}

/** Like `watched`, but counts how often the places are looked up. */
function counted(...args: Parameters<typeof watched>): ReturnType<typeof watched> & { looks: number } {
  const { isComplete, places, above } = watched(...args)
  const counts = {
    isComplete,
    above,
    looks: 0,
    places: () => {
      counts.looks++
      return places()
    },
  }
  return counts
}

/** Waits for the watches of a new key, which exist once it has been compared. */
async function armed(key: string): Promise<number> {
  await eventually(() => timesOf(key) > 0)
  return timesOf(key)
}

function sum(keys: readonly string[]): number {
  return keys.reduce((all, key) => all + timesOf(key), 0)
}

function inotifyWatches(): number {
  let count = 0
  for (const name of readdirSync('/proc/self/fdinfo')) {
    try {
      count += readFileSync(`/proc/self/fdinfo/${name}`, 'utf8').match(/^inotify wd/gm)?.length ?? 0
    } catch {
      // The descriptor by which the folder itself was read has closed.
    }
  }
  return count
}

describe('Watcher, by events', () => {
  it('compares once the watches are there', async () => {
    start().watch('a', watched({ [folder('a')]: undefined }))
    assert.equal(await armed('a'), 1)
  })

  it('compares on an event in a watched folder', async () => {
    start().watch('a', watched({ [folder('a')]: undefined }))
    const before = await armed('a')
    writeFileSync(at('a', 'file'), '')
    await eventually(() => timesOf('a') > before)
  })

  it('compares on an event for a name that matters, and for no other', async () => {
    start().watch('a', watched({ [folder('www')]: ['a'] }))
    watcher?.watch('b', watched({ [folder('www')]: ['b'] }))
    const before = (await armed('a')) + (await armed('b')) - timesOf('b')
    writeFileSync(at('www', 'c'), '')
    const beforeB = timesOf('b')
    writeFileSync(at('www', 'b'), '')
    await eventually(() => timesOf('b') > beforeB)
    assert.equal(timesOf('a'), before)
  })

  it('notices a second event, and one after the folder was replaced twice', async () => {
    start().watch('a', watched({ [folder('a')]: undefined }))
    await armed('a')
    for (let round = 0; round < 3; round++) {
      rmSync(at('a'), { recursive: true })
      const before = timesOf('a')
      folder('a')
      await eventually(() => timesOf('a') > before)
      await becomesQuiet()
      const beforeFile = timesOf('a')
      writeFileSync(at('a', `file${round}`), '')
      await eventually(() => timesOf('a') > beforeFile)
    }
  })

  it('notices a folder that replaced another while nobody listened', async () => {
    const places = { [folder('a')]: undefined }
    start().watch('a', watched(places))
    await armed('a')
    renameSync(at('a'), at('old'))
    folder('a')
    await becomesQuiet()
    watcher?.watch('a', watched(places))
    await becomesQuiet()
    const before = timesOf('a')
    writeFileSync(at('a', 'file'), '')
    await eventually(() => timesOf('a') > before)
  })

  it(
    'keeps all that share a folder listening when it is replaced, and leaves no watch behind',
    onLinux,
    async () => {
      const keys = ['a', 'b', 'c']
      const watches = inotifyWatches()
      start()
      for (const key of keys) watcher?.watch(key, watched({ [folder('www')]: [key] }))
      for (const key of keys) await armed(key)
      rmSync(at('www'), { recursive: true })
      folder('www')
      await becomesQuiet()
      for (const key of keys) {
        const before = timesOf(key)
        writeFileSync(at('www', key), '')
        await eventually(() => timesOf(key) > before)
      }
      for (const key of keys) watcher?.unwatch(key)
      await eventually(() => assert.equal(inotifyWatches(), watches))
    },
  )

  it('reopens a watch that could not be opened', async () => {
    let fails = true
    using _ = new PatchedFs((name, original) =>
      name !== 'watch'
        ? undefined
        : (...values) => {
            if (!fails) return original(...values)
            throw Object.assign(new Error('EMFILE: no watch'), { code: 'EMFILE' })
          },
    )
    const places = { [folder('a')]: undefined }
    start().watch('a', watched(places))
    await armed('a')
    fails = false
    watcher?.watch('a', watched(places))
    await becomesQuiet()
    const before = timesOf('a')
    writeFileSync(at('a', 'file'), '')
    await eventually(() => timesOf('a') > before)
  })

  it('reopens, for all that share it, a watch that has silently become deaf', async () => {
    let isDeaf = true
    folder('elsewhere')
    using _ = new PatchedFs((name, original) =>
      name !== 'watch' ? undefined : (path, ...rest) => original(isDeaf ? at('elsewhere') : path, ...rest),
    )
    const places = { [folder('www')]: undefined }
    start().watch('a', watched(places))
    watcher?.watch('b', watched(places))
    await armed('a')
    await armed('b')
    isDeaf = false
    renameSync(at('www'), at('old'))
    folder('www')
    watcher?.watch('a', watched(places))
    await becomesQuiet()
    const before = new Map(compared)
    writeFileSync(at('www', 'file'), '')
    for (const key of ['a', 'b']) await eventually(() => timesOf(key) > (before.get(key) as number))
  })

  it('looks the places up again when something on the way changed', async () => {
    let place = folder('one')
    folder('two')
    start().watch('a', {
      isComplete: () => true,
      places: async () =>
        new Map([
          [folder('www'), ['a']],
          [place, undefined],
        ]),
      above: base,
    })
    await armed('a')
    place = at('two')
    writeFileSync(at('www', 'a'), '')
    await becomesQuiet()
    const before = timesOf('a')
    writeFileSync(at('two', 'file'), '')
    await eventually(() => timesOf('a') > before)
  })

  it('looks again for places that are not known yet', async () => {
    let looks = 0
    const place = folder('a')
    start().watch('a', {
      isComplete: () => true,
      places: async () => (looks++ < 2 ? new Map() : new Map([[place, undefined]])),
      above: base,
    })
    await eventually(() => looks > 2)
    await becomesQuiet()
    const before = timesOf('a')
    writeFileSync(at('a', 'file'), '')
    await eventually(() => timesOf('a') > before)
  })

  it('looks again for a place that is not there yet, beside one that is', async () => {
    start().watch('a', watched({ [folder('a')]: undefined, [at('late')]: undefined }))
    await armed('a')
    folder('late')
    await becomesQuiet()
    const before = timesOf('a')
    writeFileSync(at('late', 'file'), '')
    await eventually(() => timesOf('a') > before)
  })

  it('looks no place up again for events in a folder in which every name matters', async () => {
    const a = counted({ [folder('a')]: undefined })
    start().watch('a', a)
    const before = await armed('a')
    writeFileSync(at('a', 'file'), '')
    await eventually(() => timesOf('a') > before)
    await becomesQuiet()
    assert.equal(a.looks, 1)
  })

  it('looks up the places of a few keys at a time after an event of a folder that many share', async () => {
    const shared = folder('shared')
    const watcher = start()
    let [under, most, looks] = [0, 0, 0]
    const places = async (): Promise<Places> => {
      looks++
      most = Math.max(most, ++under)
      for (let turns = 0; turns < 3; turns++) await turn()
      under--
      return new Map([[shared, ['current']]])
    }
    for (let key = 0; key < 100; key++)
      watcher.watch(String(key), { isComplete: () => true, places, above: base })
    await eventually(() => assert.equal(compared.size, 100))
    most = looks = 0
    chmodSync(shared, 0o700)
    await eventually(() => looks === 100)
    assert.ok(most <= 16, `${most} at a time`)
    await eventually(() => [...compared.values()].every(times => times >= 3))
  })

  it('looks for a missing place ten more times, then leaves it to the interval', async () => {
    const late = counted({ [at('late')]: undefined })
    start().watch('late', late)
    await eventually(() => late.looks === 11)
    await someRetries()
    assert.equal(late.looks, 11)
  })

  it('stops looking for the places of a key that is gone, or whose look-up has started again', async () => {
    const [gone, first, second] = [1, 2, 3].map(() => counted({ [at('late')]: undefined }))
    assert.ok(gone && first && second)
    start().watch('gone', gone)
    watcher?.watch('anew', first)
    await armed('gone')
    await armed('anew')
    watcher?.unwatch('gone')
    watcher?.watch('anew', second)
    await eventually(() => second.looks === 11)
    await someRetries()
    assert.deepEqual([gone.looks, first.looks, second.looks], [1, 1, 11])
  })

  it('watches what was looked up last, whichever look-up ends first', onLinux, async () => {
    const gate = new Gate()
    const watches = inotifyWatches()
    folder('old')
    start().watch('a', {
      ...watched({}),
      places: async () => {
        await gate.pass()
        return new Map([[at('old'), undefined]])
      },
    })
    watcher?.watch('a', watched({ [folder('new')]: undefined }))
    await armed('a')
    gate.open()
    await becomesQuiet()
    assert.equal(inotifyWatches(), watches + 1)
    const before = timesOf('a')
    writeFileSync(at('new', 'file'), '')
    await eventually(() => timesOf('a') > before)
  })

  it('looks again if the places could not be looked up', async () => {
    let looks = 0
    const { places, ...rest } = watched({ [folder('a')]: undefined })
    start().watch('a', {
      ...rest,
      places: () => (looks++ === 0 ? Promise.reject(new Error('EIO')) : places()),
    })
    await eventually(() => looks === 2)
    await becomesQuiet()
    const before = timesOf('a')
    writeFileSync(at('a', 'file'), '')
    await eventually(() => timesOf('a') > before)
  })

  it('gives back the watch of a folder that is no longer a place', onLinux, async () => {
    const watches = inotifyWatches()
    start().watch('a', watched({ [folder('one')]: undefined, [folder('two')]: undefined }))
    await armed('a')
    assert.equal(inotifyWatches(), watches + 2)
    watcher?.watch('a', watched({ [at('two')]: undefined }))
    await eventually(() => assert.equal(inotifyWatches(), watches + 1))
  })

  it('listens to a folder that was given up and is wanted again', async () => {
    start().watch('a', watched({ [folder('a')]: undefined }))
    await armed('a')
    watcher?.unwatch('a')
    watcher?.watch('b', watched({ [at('a')]: undefined }))
    const before = await armed('b')
    writeFileSync(at('a', 'file'), '')
    await eventually(() => timesOf('b') > before)
  })

  it('opens a watch once for all that share a folder, and reopens it if the folder itself had an event', async () => {
    const opened: string[] = []
    using _ = new PatchedFs((name, original) =>
      name !== 'watch'
        ? undefined
        : (path, ...rest) => {
            opened.push(path)
            return original(path, ...rest)
          },
    )
    start()
    for (const key of ['a', 'b', 'c']) watcher?.watch(key, watched({ [folder('www')]: undefined }))
    for (const key of ['a', 'b', 'c']) await armed(key)
    const before = timesOf('a')
    writeFileSync(at('www', 'file'), '')
    await eventually(() => timesOf('a') > before)
    await becomesQuiet()
    assert.deepEqual(opened, [at('www')])
    chmodSync(at('www'), 0o700)
    await eventually(() => opened.length > 1)
  })

  it('compares once more, not ten times more, for what happens during a comparison', async () => {
    const gate = new Gate()
    start({}, { a: () => gate.pass() })
    watcher?.watch('a', watched({ [folder('a')]: undefined }))
    await gate.reached()
    for (let n = 0; n < 10; n++) watcher?.wake('a')
    gate.open()
    await becomesQuiet()
    assert.equal(timesOf('a'), 2)
  })

  it('stops comparing a key that is gone when its comparison ends', async () => {
    const gate = new Gate()
    start({}, { a: () => gate.pass() }).watch('a', watched({ [folder('a')]: undefined }))
    await gate.reached()
    watcher?.wake('a')
    watcher?.unwatch('a')
    gate.open()
    watcher?.watch('b', watched({ [folder('b')]: undefined }))
    await armed('b')
    assert.equal(timesOf('a'), 1)
  })

  it('knows nothing of a key that it never watched', () => {
    start().unwatch('never')
    watcher?.wake('never')
    assert.equal(timesOf('never'), 0)
  })

  it('looks no place up after close()', () => {
    const late = counted({ [folder('a')]: undefined })
    start().close()
    watcher?.watch('a', late)
    assert.equal(late.looks, 0)
  })

  it('hears nothing after unwatch() and close()', async () => {
    start().watch('a', watched({ [folder('a')]: undefined }))
    watcher?.watch('b', watched({ [folder('b')]: undefined }))
    await armed('a')
    await armed('b')
    const before = timesOf('a')
    watcher?.unwatch('a')
    writeFileSync(at('a', 'file'), '')
    const beforeB = timesOf('b')
    writeFileSync(at('b', 'file'), '')
    await eventually(() => timesOf('b') > beforeB)
    assert.equal(timesOf('a'), before)
    watcher?.close()
    watcher?.watch('c', watched({ [folder('c')]: undefined }))
    watcher?.wake('b')
    assert.equal(timesOf('c'), 0)
  })

  it('watches a folder without ever listing it', async () => {
    const listed: string[] = []
    using _ = new PatchedFs((name, original) =>
      !/^(?:readdir|opendir)/.test(name)
        ? undefined
        : (path, ...rest) => {
            listed.push(String(path))
            return original(path, ...rest)
          },
    )
    start().watch('a', watched({ [folder('a')]: undefined }))
    const before = await armed('a')
    writeFileSync(at('a', 'more'), '')
    await eventually(() => timesOf('a') > before)
    assert.deepEqual(listed, [])
  })

  it('opens one watch for all that share a folder, and closes it with the last', onLinux, async () => {
    const before = inotifyWatches()
    start()
    for (const key of ['a', 'b', 'c']) watcher?.watch(key, watched({ [folder('www')]: [key] }))
    for (const key of ['a', 'b', 'c']) await armed(key)
    assert.equal(inotifyWatches(), before + 1)
    watcher?.unwatch('a')
    watcher?.unwatch('b')
    assert.equal(inotifyWatches(), before + 1)
    watcher?.unwatch('c')
    await eventually(() => assert.equal(inotifyWatches(), before))
  })

  it('leaves no watch behind that was still being opened', onLinux, async () => {
    const before = inotifyWatches()
    start()
    for (let round = 0; round < 50; round++) {
      watcher?.watch(`key${round}`, watched({ [folder(`folder${round % 5}`)]: undefined }))
      if (round % 3 === 0) await turn()
      watcher?.unwatch(`key${round}`)
    }
    watcher?.watch('last', watched({ [folder('last')]: undefined }))
    await armed('last')
    await eventually(() => assert.equal(inotifyWatches(), before + 1))
  })

  it('gives every watch back: 200 vhosts loaded and evicted', onLinux, async () => {
    const before = inotifyWatches()
    {
      await using world = await World.start({ maxApps: 1, updateInterval: LONG })
      for (let n = 0; n < 200; n++) {
        world.site(`v${n}.test`, String(n))
        assert.equal(await world.body(`v${n}.test`), String(n))
      }
      await eventually(() => assert.equal(inotifyWatches(), before + 2))
    }
    await eventually(() => assert.equal(inotifyWatches(), before))
  })

  /** Waits while another key is looked for three more times. */
  async function someRetries(): Promise<void> {
    const clock = counted({ [at('never')]: undefined })
    watcher?.watch('clock', clock)
    await eventually(() => clock.looks > 3)
  }

  // Waits until nothing more happens by itself for a while: events that were on their way, watches opened anew.
  async function becomesQuiet(): Promise<void> {
    let seen = -1
    let since = performance.now()
    await eventually(() => {
      const all = [...compared.values()].reduce((sum, times) => sum + times, 0)
      if (all !== seen) {
        seen = all
        since = performance.now()
      }
      return performance.now() - since > 100
    })
  }
})

describe('Watcher, by looking', () => {
  it('compares keys without watches at each interval', async () => {
    start({ updateInterval: 10, watch: false }).watch('complete', watched({}))
    watcher?.watch('incomplete', watched({}, false))
    await eventually(() => timesOf('incomplete') >= 30)
    assert.ok(timesOf('complete') > 15, `${timesOf('complete')}`)
  })

  it('compares keys with watches at every tenth interval', async () => {
    start({ updateInterval: 10 }).watch('armed', watched({ [folder('a')]: undefined }))
    watcher?.watch('incomplete', watched({ [folder('b')]: undefined }, false))
    await armed('armed')
    writeFileSync(at('a', 'file'), '')
    await eventually(() => timesOf('armed') > 1)
    const before = timesOf('armed')
    const start0 = timesOf('incomplete')
    await eventually(() => timesOf('armed') >= before + 4)
    const ratio = (timesOf('incomplete') - start0) / (timesOf('armed') - before)
    assert.ok(ratio > 5 && ratio < 15, `1 of ${ratio}`)
  })

  it('compares at each interval if a watch could not be opened', async () => {
    start({ updateInterval: 10 }).watch('armed', watched({ [folder('a')]: undefined }))
    watcher?.watch('deaf', watched({ [at('nowhere')]: undefined }))
    await armed('armed')
    const before = timesOf('armed')
    const start0 = timesOf('deaf')
    await eventually(() => timesOf('armed') >= before + 6)
    const ratio = (timesOf('deaf') - start0) / (timesOf('armed') - before)
    assert.ok(ratio > 5, `1 of ${ratio}`)
  })

  it('compares each key in an interval of its own out of ten', async () => {
    const keys = ['a', 'b', 'c']
    start({ updateInterval: 10 })
    for (const key of keys) watcher?.watch(key, watched({ [folder(key)]: undefined }))
    for (const key of keys) await armed(key)
    const before = new Map(compared)
    await eventually(() => keys.every(key => timesOf(key) >= (before.get(key) as number) + 2))
  })

  for (const [what, fails] of [
    ['one of two watches', at => at.endsWith('deaf')],
    ['the one watch', () => true],
  ] as [string, (path: string) => boolean][]) {
    it(`compares at each interval if ${what} could not be opened`, async () => {
      using _ = new PatchedFs((name, original) =>
        name !== 'watch'
          ? undefined
          : (path, ...rest) => {
              if (!fails(path)) return original(path, ...rest)
              throw Object.assign(new Error('EMFILE: no watch'), { code: 'EMFILE' })
            },
      )
      const places = fails('')
        ? { [folder('deaf')]: undefined }
        : { [folder('live')]: undefined, [folder('deaf')]: undefined }
      start({ updateInterval: 10 }).watch('a', watched(places))
      // This key is compared at each interval.
      watcher?.watch('clock', watched({ [at('live')]: undefined }, false))
      await armed('a')
      const before = timesOf('a')
      const intervals = timesOf('clock')
      await eventually(() => timesOf('clock') >= intervals + 20)
      assert.ok(timesOf('a') - before > 10, `${timesOf('a') - before} of 20 intervals`)
    })
  }

  it('looks at nothing once nothing is watched', async () => {
    let looks = 0
    using _ = new PatchedFs((name, original) =>
      name !== 'stat'
        ? undefined
        : (path, ...rest) => {
            if (path === base) looks++
            return original(path, ...rest)
          },
    )
    start({ updateInterval: 5, watch: false }).watch('a', watched({}))
    await eventually(() => looks > 2)
    watcher?.unwatch('a')
    let intervals = 0
    const settings = { basePath: folder('elsewhere'), updateInterval: 5, watch: false }
    const clock = new Watcher(settings, async () => void intervals++)
    clock.watch('clock', { ...watched({}), above: at('elsewhere') })
    // The last sweep may still be under way.
    await eventually(() => intervals > 5)
    const before = looks
    await eventually(() => intervals > 15)
    clock.close()
    assert.equal(looks, before)
    watcher?.watch('a', watched({}))
    await eventually(() => looks > before + 2)
  })

  it('compares no key that was removed during the sweep', async () => {
    const keys = Array.from({ length: 40 }, (_, n) => `key${n}`)
    start(
      { updateInterval: 10, watch: false },
      {
        key0: async () => {
          if (timesOf('key0') > 1) for (const key of keys.slice(1)) watcher?.unwatch(key)
          return undefined
        },
      },
    )
    for (const key of keys) watcher?.watch(key, watched({}))
    await eventually(() => timesOf('key0') > 3)
    for (const key of keys.slice(1)) assert.equal(timesOf(key), 1, key)
  })

  it('compares again, at once, if an interval passes during a comparison', async () => {
    const gate = new Gate()
    let isFirst = true
    start(
      { updateInterval: 200, watch: false },
      {
        a: async () => {
          if (timesOf('a') !== 2 || !isFirst) return undefined
          isFirst = false
          return await gate.pass()
        },
      },
    )
    for (const key of ['a', 'clock']) watcher?.watch(key, watched({}))
    await gate.reached()
    const before = timesOf('clock')
    await eventually(() => timesOf('clock') > before)
    gate.open()
    await turn()
    assert.equal(timesOf('a'), 3)
  })

  it('opens no watch if none is wanted', onLinux, async () => {
    const before = inotifyWatches()
    start({ updateInterval: 10, watch: false }).watch('a', watched({ [folder('a')]: undefined }))
    await eventually(() => timesOf('a') >= 10)
    assert.equal(inotifyWatches(), before)
  })

  for (const [what, replaced, above] of [
    ['the base path', 'www', 'www'],
    ['the base path alone', 'www', 'releases'],
    ['a folder above', 'releases', 'releases'],
  ] as const) {
    it(`compares all at the next interval when ${what} has been replaced`, async () => {
      folder('www')
      folder('releases')
      watcher = new Watcher({ basePath: at('www'), updateInterval: 50, watch: true }, async key => {
        compared.set(key, timesOf(key) + 1)
        return undefined
      })
      const keys = Array.from({ length: 30 }, (_, n) => `key${n}`)
      for (const key of keys)
        watcher.watch(key, { ...watched({ [folder('a')]: undefined }), above: at(above) })
      // This key is compared at each interval, and so counts intervals.
      watcher.watch('clock', { ...watched({ [folder('a')]: undefined }, false), above: at(above) })
      await eventually(() => timesOf('clock') > 12)
      const before = new Map(compared)
      renameSync(at(replaced), at('old'))
      folder(replaced)
      await eventually(() => keys.every(key => timesOf(key) > (before.get(key) as number)))
      const intervals = timesOf('clock') - (before.get('clock') as number)
      assert.ok(intervals <= 4, `after ${intervals} intervals`)
    })
  }

  for (const watch of [true, false]) {
    it(`looks ${watch ? 'up anew what to watch' : 'for nothing to watch'} when a folder above has been replaced, watch: ${watch}`, async () => {
      folder('releases')
      const one = counted({ [folder('a')]: undefined })
      start({ updateInterval: 20, watch }).watch('one', Object.assign(one, { above: at('releases') }))
      await eventually(() => timesOf('one') > 2)
      const [looks, times] = [one.looks, timesOf('one')]
      renameSync(at('releases'), at('old'))
      folder('releases')
      await eventually(() => timesOf('one') > times && one.looks === (watch ? looks + 1 : 0))
    })
  }

  it('runs no two comparisons of one key at once', async () => {
    let running = 0
    let most = 0
    start(
      { updateInterval: 5, watch: false },
      {
        a: async () => {
          most = Math.max(most, ++running)
          await new Promise(resolve => setTimeout(resolve, 15))
          running--
          return undefined
        },
      },
    ).watch('a', watched({}))
    await eventually(() => {
      watcher?.wake('a')
      return timesOf('a') > 20
    })
    assert.equal(most, 1)
  })

  it('is not held up by a folder above that hangs, and does not ask about it again meanwhile', async () => {
    const answers: (() => void)[] = []
    using _ = new PatchedFs((name, original) =>
      name !== 'stat'
        ? undefined
        : (path, ...rest) => {
            if (path !== at('releases')) return original(path, ...rest)
            answers.push(() => original(path, ...rest))
          },
    )
    folder('releases')
    start({ updateInterval: 10, watch: false }).watch('quick', watched({}))
    watcher?.watch('hung', { ...watched({}), above: at('releases') })
    await eventually(() => timesOf('quick') > 4)
    assert.equal(answers.length, 1)
    answers.pop()?.()
    await eventually(() => answers.length === 1)
  })

  it('looks at a folder above once per interval, and not at all if a watch reports it', async () => {
    const looks: Record<string, number> = {}
    using _ = new PatchedFs((name, original) =>
      name !== 'stat'
        ? undefined
        : (path, ...rest) => {
            looks[path] = (looks[path] ?? 0) + 1
            return original(path, ...rest)
          },
    )
    folder('www/releases')
    folder('elsewhere')
    const places = { [at('www')]: undefined }
    start({ updateInterval: 10 }).watch('told', { ...watched(places), above: at('www/releases') })
    for (const key of ['one', 'two']) watcher?.watch(key, { ...watched(places), above: at('elsewhere') })
    watcher?.watch('clock', watched(places, false))
    await armed('told')
    await eventually(() => timesOf('clock') > 10)
    assert.equal(looks[at('www/releases')], undefined)
    const [above = 0, own = 0] = [looks[at('elsewhere')], looks[base]]
    assert.ok(above > 5 && Math.abs(above - own) <= 1, `${above} beside ${own} of the base path`)
  })

  it('assumes that a hanging folder above is unchanged, and notices the change when it answers', async () => {
    let isHung = false
    const answers: (() => void)[] = []
    using _ = new PatchedFs((name, original) =>
      name !== 'stat'
        ? undefined
        : (path, ...rest) => {
            if (path !== at('releases') || !isHung) return original(path, ...rest)
            answers.push(() => original(path, ...rest))
          },
    )
    folder('releases')
    const below = { ...watched({ [folder('a')]: undefined }), above: at('releases') }
    const keys = Array.from({ length: 10 }, (_, n) => `key${n}`)
    let atClock = (): void => {}
    start({ updateInterval: 10 }, { clock: async () => atClock() as undefined })
    for (const key of keys) watcher?.watch(key, below)
    watcher?.watch('clock', watched({ [at('a')]: undefined }, false))
    for (const key of keys) await armed(key)
    await eventually(() => timesOf('clock') > 12)
    isHung = true
    await eventually(() => answers.length === 1)
    // One sweep waits for the folder in vain, and one follows it.
    const [before, intervals] = [sum(keys), timesOf('clock')]
    await eventually(() => timesOf('clock') >= intervals + 3)
    const atTurns = sum(keys) - before
    assert.ok(atTurns <= 4, `${atTurns} comparisons in three intervals`)
    answers.pop()?.()
    await eventually(() => answers.length === 1)
    // Runs between the look above of the sweep that is given up and that of the next.
    atClock = () => {
      atClock = () => {}
      renameSync(at('releases'), at('old'))
      folder('releases')
      isHung = false
      answers.pop()?.()
    }
    await eventually(() => !isHung)
    const seen = new Map(compared)
    const since = timesOf('clock')
    await eventually(() => keys.every(key => timesOf(key) > (seen.get(key) as number)))
    assert.ok(timesOf('clock') - since <= 4, `after ${timesOf('clock') - since} intervals`)
  })

  it('is not held up by readings that hang', async () => {
    const gate = new Gate()
    const hung = Array.from({ length: 5 }, (_, n) => `hung${n}`)
    const doing = (key: string) => async () => (timesOf(key) > 1 ? await gate.pass() : undefined)
    start({ updateInterval: 10, watch: false }, Object.fromEntries(hung.map(key => [key, doing(key)])))
    for (const key of ['quick', ...hung]) watcher?.watch(key, watched({}))
    await gate.reached()
    const before = timesOf('quick')
    await eventually(() => timesOf('quick') > before + 5)
    for (const key of hung) assert.equal(timesOf(key), 2)
    gate.open()
    await eventually(() => hung.every(key => timesOf(key) > 2))
  })
})

describe('Watcher, without watches', () => {
  for (const code of ['ENOSPC', 'EMFILE', 'EACCES']) {
    it(`looks at each interval after ${code}, and warns once`, async t => {
      const warnings: string[] = []
      const listener = ({ name, message }: Error): unknown => warnings.push(`${name}: ${message}`)
      process.on('warning', listener)
      t.after(() => process.off('warning', listener))
      using _ = new PatchedFs(name =>
        name !== 'watch'
          ? undefined
          : () => {
              throw Object.assign(new Error(`${code}: no watch`), { code })
            },
      )
      await using world = await World.start({ updateInterval: 30 })
      for (const name of ['aries.test', 'taurus.test', 'virgo.test']) world.site(name, 'one')
      for (let n = 0; n <= 1000; n++) world.write(`virgo.test/app/file${n}`, '')
      for (const name of ['aries.test', 'taurus.test', 'virgo.test']) {
        assert.equal(await world.body(name), 'one')
        world.site(name, 'two')
        await eventually(async () => assert.equal(await world.body(name), 'two'))
      }
      assert.deepEqual(warnings, [
        `ExpressVanWarning: A folder cannot be watched (${code}): changes are seen within 30 ms instead of at once`,
      ])
    })
  }

  it('does not warn of a folder that has already gone', async t => {
    const warnings: unknown[] = []
    const listener = (warning: Error): unknown => warnings.push(warning)
    process.on('warning', listener)
    t.after(() => process.off('warning', listener))
    start({ updateInterval: 10 }).watch('a', watched({ [at('nowhere')]: undefined }))
    await eventually(() => timesOf('a') > 3)
    assert.deepEqual(warnings, [])
  })

  const limits: [name: string, value: number, code: string][] = [
    ['max_inotify_watches', 3, 'ENOSPC'],
    ['max_inotify_instances', 0, 'EMFILE'],
  ]
  for (const [name, value, code] of limits) {
    it(`serves and follows changes if the system has no watch left: ${name} = ${value}`, onLinux, async t => {
      const before = [
        'unshare',
        '-Ur',
        'sh',
        '-c',
        `echo ${value} > /proc/sys/user/${name} && exec "$0" "$@"`,
      ]
      const { code: canLimit } = await runChild('', { before }).catch(() => ({ code: 1 }))
      if (canLimit !== 0) return t.skip('no user namespaces here')
      const seen = await resultOfChild<{ bodies: string[]; warnings: string[] }>(
        `import { eventually, World } from 'support/world.js'
        const warnings = []
        process.on('warning', ({ code, message }) => code === 'EXPRESS_VAN_WATCH' && warnings.push(message))
        const world = await World.start({ updateInterval: 30 })
        const names = Array.from({ length: 10 }, (_, n) => 'v' + n + '.test')
        for (const name of names) {
          world.site(name, 'one')
          await world.body(name)
        }
        for (const name of names) world.site(name, 'two')
        for (const name of names) await eventually(async () => (await world.body(name)) === 'two')
        const bodies = await Promise.all(names.map(name => world.body(name)))
        await world[Symbol.asyncDispose]()
        console.log(JSON.stringify({ bodies, warnings }))`,
        { before },
      )
      assert.deepEqual(seen.bodies, Array(10).fill('two'))
      assert.deepEqual(seen.warnings, [
        `A folder cannot be watched (${code}): changes are seen within 30 ms instead of at once`,
      ])
    })
  }
})

describe('the process', () => {
  for (const watch of [true, false]) {
    for (const isClosed of [false, true]) {
      const when = isClosed ? 'after close()' : 'when nothing but the router is left'
      it(`ends by itself ${when}, with watch: ${watch}`, async () => {
        mkdirSync(at('aries.test/app'), { recursive: true })
        writeFileSync(at('aries.test/app/index.js'), 'module.exports = () => {}')
        const { code, signal, output, errors } = await runChild(
          `import { vhostRouter } from 'lib/index.js'
          const vhosts = vhostRouter({ basePath: ${JSON.stringify(base)}, watch: ${watch}, updateInterval: 20 })
          const { realPath } = await vhosts.load('aries.test')
          // Time for sweeps and watches.
          for (let n = 0; n < 20; n++) await new Promise(resolve => setTimeout(resolve, 10))
          ${isClosed ? 'await vhosts.close()' : ''}
          console.log(realPath)`,
        )
        assert.deepEqual({ code, signal, errors }, { code: 0, signal: null, errors: '' })
        assert.equal(output.trim(), at('aries.test'))
      })
    }
  }
})

/** Comparisons wait here until the gate is opened. */
class Gate {
  #isReached = false
  #open!: () => void
  readonly #opened = new Promise<undefined>(resolve => {
    this.#open = () => resolve(undefined)
  })

  async pass(): Promise<undefined> {
    this.#isReached = true
    return await this.#opened
  }

  async reached(): Promise<void> {
    await eventually(() => this.#isReached)
  }

  open(): void {
    this.#open()
  }
}
