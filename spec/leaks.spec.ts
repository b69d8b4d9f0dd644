import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { unchanged } from './support/unchanged.ts'
import { eventually, World } from './support/world.ts'

/** 80 kB, so that an app that is kept shows up. */
const BALLAST = 'module.exports.ballast = new Array(10_000).fill(0)'

/** How often an app is evicted and another one loaded; after 10,000, which take a minute, the process is the same. */
const EVICTIONS = Number(process.env.SPEC_EVICTIONS ?? 2000)

// Each spec first does a thing a few times, so that one-off allocations are made, then many times: the process must be
// as it was.

describe('the process', { concurrency: 1 }, () => {
  it('is as it was after 1,000 deploys of CommonJS', async t => {
    await using world = await World.start()
    const sites = named('aries', 25)
    const deploy = async (host: string, text: string): Promise<void> => {
      world.write(`${host}/app/lib/words.js`, `module.exports = { text: '${text}' }`)
      world.write(
        `${host}/app/index.js`,
        `const { text } = require('./lib/words')
         process.on('${host}', () => text)
         module.exports = (req, res) => res.end(text)
         ${BALLAST}`,
      )
      await eventually(async () => (await world.body(host)) === text)
    }
    await unchanged(t, world, rounds(sites, 8, deploy), rounds(sites, 40, deploy))
    assert.equal(world.vhosts.stats().staleGraphs, 0)
  })

  it('is as it was after 200 deploys of ES modules, except for the graphs that Node keeps', async t => {
    await using world = await World.start()
    const sites = named('taurus', 10)
    const deploy = async (host: string, text: string): Promise<void> => {
      world.write(`${host}/app/words.mjs`, `export default '${text}'`)
      world.write(
        `${host}/app/index.mjs`,
        `import text from './words.mjs'
         process.on('${host}', () => text)
         export default (req, res) => res.end(text)`,
      )
      await eventually(async () => (await world.body(host)) === text)
    }
    await rounds(sites, 5, deploy)()
    const { staleGraphs } = world.vhosts.stats()
    let reloads = 0
    world.vhosts.on('reload', () => reloads++)
    // The allowance is what Node keeps of two modules of a few lines.
    await unchanged(t, world, async () => {}, rounds(sites, 20, deploy), 200 * 0.03)
    // The router may see more deploys than there were: the two files of one are written one after the other.
    assert.ok(reloads >= 200)
    await eventually(() => assert.equal(world.vhosts.stats().staleGraphs - staleGraphs, reloads))
  })

  it(`is as it was after ${EVICTIONS} rounds of evicting and loading`, async t => {
    await using world = await World.start({ maxApps: 20 })
    const sites = named('virgo', 200)
    for (const [index, host] of sites.entries()) {
      if (index % 2 === 0) {
        world.write(
          `${host}/app/index.js`,
          `const { host } = require('./host'); process.on('${host}', () => host); module.exports = (req, res) => res.end(host); ${BALLAST}`,
        )
        world.write(`${host}/app/host.js`, `module.exports = { host: '${host}' }`)
      } else {
        world.write(
          `${host}/app/index.mjs`,
          `import host from './host.mjs'; process.on('${host}', () => host); export default (req, res) => res.end(host)`,
        )
        world.write(`${host}/app/host.mjs`, `export default '${host}'`)
      }
    }
    let loads = 0
    world.vhosts.on('load', () => loads++)
    const ask = async (): Promise<void> => {
      const left = [...sites]
      await Promise.all(
        Array.from({ length: 5 }, async () => {
          for (let host = left.pop(); host; host = left.pop()) assert.equal(await world.body(host), host)
        }),
      )
    }
    await unchanged(t, world, ask, async () => {
      for (let round = 0; round < EVICTIONS / sites.length; round++) {
        await ask()
        // The spec itself keeps these.
        world.told.length = 0
      }
    })
    assert.ok(loads >= EVICTIONS, `${loads} loads`)
    const { totals, staleGraphs } = world.vhosts.stats()
    assert.deepEqual([totals.apps, totals.draining, staleGraphs], [20, 0, 0])
    assert.ok(totals.hostnames <= 20, `${totals.hostnames} names`)
  })

  it('is as it was after 300 deploys that do not load and are then mended', async t => {
    await using world = await World.start({ updateInterval: 100 })
    const sites = named('gemini', 10)
    const deploy = async (host: string, text: string): Promise<void> => {
      const failures = world.events('error').length
      world.write(`${host}/app/index.js`, `process.on('${host}', () => {}); throw new Error('${text}')`)
      await eventually(() =>
        world
          .events('error')
          .slice(failures)
          .some(({ error }) => String(error.cause).includes(text)),
      )
      world.site(host, text)
      await eventually(async () => (await world.body(host)) === text)
    }
    for (const host of sites) world.site(host, 'first')
    for (const host of sites) await world.body(host)
    await unchanged(t, world, rounds(sites, 5, deploy), rounds(sites, 30, deploy))
  })

  it('is as it was after 100 routers', async t => {
    const once = async (): Promise<void> => {
      await using world = await World.start({ updateInterval: 50 })
      for (const host of named('libra', 3)) {
        world.site(host, host)
        assert.equal(await world.body(host), host)
      }
    }
    const times = (count: number) => async (): Promise<void> => {
      for (let time = 0; time < count; time++) await once()
    }
    await unchanged(t, undefined, times(10), times(100))
  })
})

function named(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${name}-${index}.test`)
}

let lastRound = 0

/** Deploys to every site several times, with another text each time. */
function rounds(
  sites: readonly string[],
  count: number,
  deploy: (host: string, text: string) => Promise<void>,
): () => Promise<void> {
  return async () => {
    for (let round = 0; round < count; round++) {
      const text = `round ${++lastRound};`
      await Promise.all(sites.map(host => deploy(host, text)))
    }
  }
}
