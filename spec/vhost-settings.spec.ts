import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { VhostError } from '../lib/index.ts'
import { eventually, World } from './support/world.ts'

function write(world: World, vhost: unknown, folder = 'aries.test'): void {
  world.write(`${folder}/package.json`, JSON.stringify({ vhost }))
}

describe('"vhost" in a package.json', () => {
  it('sets module and export of its own vhost, over those of the router', async () => {
    await using world = await World.start({ moduleName: 'index', exportName: 'app' })
    world.write('aries.test/app/main.js', 'exports.make = () => (req, res) => res.end("made")')
    write(world, { moduleName: 'main', exportName: 'make()' })
    world.write('leo.test/app/index.js', 'exports.app = (req, res) => res.end("leo")')
    world.write('leo.test/package.json', '{}')
    assert.equal(await world.body('aries.test'), 'made')
    assert.equal(await world.body('leo.test'), 'leo')
    assert.equal((await world.vhosts.why('aries.test')).entry, world.path('aries.test/app/main.js'))
  })

  it('is read at each load', async () => {
    await using world = await World.start({ updateInterval: 30 })
    world.site('aries.test', 'index')
    world.write(
      'aries.test/app/other.js',
      'exports.one = (req, res) => res.end("one"); exports.two = (req, res) => res.end("two")',
    )
    assert.equal(await world.body('aries.test'), 'index')
    write(world, { moduleName: 'other', exportName: 'one' })
    await eventually(async () => assert.equal(await world.body('aries.test'), 'one'))
    write(world, { moduleName: 'other', exportName: 'two' })
    await eventually(async () => assert.equal(await world.body('aries.test'), 'two'))
    world.remove('aries.test/package.json')
    await eventually(async () => assert.equal(await world.body('aries.test'), 'index'))
  })

  it('makes the router watch the module that it names', async () => {
    await using world = await World.start({ updateInterval: 60_000 })
    world.write('aries.test/app/lib/main.js', 'module.exports = (req, res) => res.end("one")')
    write(world, { moduleName: 'lib/main' })
    assert.equal(await world.body('aries.test'), 'one')
    world.write('aries.test/app/lib/main.js', 'module.exports = (req, res) => res.end("two")')
    await eventually(async () => assert.equal(await world.body('aries.test'), 'two'))
  })

  it('may follow a byte order mark, as Node accepts it', async () => {
    await using world = await World.start()
    world.write('aries.test/app/main.js', 'module.exports = (req, res) => res.end("main")')
    world.write('aries.test/package.json', '\ufeff{ "vhost": { "moduleName": "main" } }')
    assert.equal(await world.body('aries.test'), 'main')
  })

  it('is read in the vhost itself if that is the app folder', async () => {
    await using world = await World.start({ appDir: '.', getVersion: () => 1 })
    world.write('aries.test/main.js', 'module.exports = (req, res) => res.end("aries")')
    write(world, { moduleName: 'main' })
    assert.equal((await world.vhosts.why('aries.test')).entry, world.path('aries.test/main.js'))
    assert.equal(await world.body('aries.test'), 'aries')
  })

  const bad: [what: string, packageJson: string, message: RegExp][] = [
    ['JSON cut in half', '{"vhost": {', /its package\.json is not well formed/],
    [
      'more than a MiB',
      JSON.stringify({ vhost: {}, more: 'x'.repeat(2 ** 20) }),
      /its package\.json is larger than 1 MiB/,
    ],
    ['no object', '[]', /its package\.json is not an object/],
    ['null', 'null', /its package\.json is not an object/],
    [
      'settings that are no object',
      '{"vhost": "main"}',
      /"vhost" in its package\.json: it must be an object, not "main"/,
    ],
    ['a module outside', '{"vhost": {"moduleName": "../x"}}', /'moduleName' must be a relative path/],
    ['an absolute module', '{"vhost": {"moduleName": "/etc/passwd"}}', /'moduleName'/],
    [
      'an export that is none',
      '{"vhost": {"exportName": "a b"}}',
      /'exportName' must be the name of an export/,
    ],
    ['null for a text', '{"vhost": {"exportName": null}}', /'exportName'/],
    ['an isolation that is none', '{"vhost": {"isolation": "vm"}}', /'isolation' must be 'none', 'thread'/],
    ['env', '{"vhost": {"env": {"A": "b"}}}', /'env' needs isolation, and this vhost has none/],
    ['NODE_* in env', '{"vhost": {"env": {"NODE_OPTIONS": "-r x"}}}', /'env' may not set "NODE_OPTIONS"/],
    ['LD_* in env', '{"vhost": {"env": {"ld_preload": "x"}}}', /'env' may not set "ld_preload"/],
    [
      'env of numbers',
      '{"vhost": {"env": {"A": 1}}}',
      /'env' must be an object of texts, not \{ A: "?'?Number/,
    ],
    ['a probe without slash', '{"vhost": {"probe": "healthz"}}', /'probe' must be a path that begins with/],
    ['a probe with a line break', '{"vhost": {"probe": "/\\r\\nHost: x"}}', /'probe' must be a path/],
    ['a probe without path', '{"vhost": {"probe": {}}}', /'probe' has no path/],
    ['a probe with a bad path', '{"vhost": {"probe": {"path": 1}}}', /'path' must be a path/],
    [
      'a probe with a bad status',
      '{"vhost": {"probe": {"path": "/", "status": 101}}}',
      /'status' must be a status/,
    ],
    [
      'a probe with a bad timeout',
      '{"vhost": {"probe": {"path": "/", "timeout": 0}}}',
      /'timeout' must be a whole/,
    ],
  ]
  for (const [what, packageJson, message] of bad) {
    it(`fails the load for ${what}; the last good release serves on`, async () => {
      await using world = await World.start({ updateInterval: 30 })
      world.site('aries.test', 'aries')
      world.site('leo.test', 'leo')
      world.write('leo.test/package.json', packageJson)
      const foreseen = await world.vhosts.why('leo.test')
      assert.equal(foreseen.status, 500)
      assert.match(foreseen.error?.message ?? '', message)
      assert.equal((await world.get('leo.test')).status, 500)
      assert.equal(await world.body('aries.test'), 'aries')
      const failed = world.event('error', ({ hostnames }) => hostnames.includes('aries.test'))
      world.write('aries.test/package.json', packageJson)
      const { error, serving } = await failed
      assert.match(error.message, message)
      assert.equal((error as VhostError).code, 'ERR_VHOST_LOAD')
      assert.ok(!error.message.includes(world.base))
      assert.ok(serving)
      assert.equal(await world.body('aries.test'), 'aries')
      world.write('aries.test/package.json', '{"vhost": {"isolation": "none", "env": {}}}')
      await world.event('reload')
      assert.equal(await world.body('aries.test'), 'aries')
    })
  }

  it('has its unknown keys reported by why(), by name only', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    world.write(
      'aries.test/package.json',
      '{"vhost": {"modulName": "s3cret", "__proto__": 1, "constructor": 2, "probe": {"path": "/", "retries": 3}}}',
    )
    const notes = ['modulName', '__proto__', 'constructor', 'probe.retries'].map(
      name => `"vhost" in package.json has no setting "${name}"`,
    )
    assert.deepEqual((await world.vhosts.why('aries.test')).notes, notes)
    assert.equal(await world.body('aries.test'), 'aries')
    assert.deepEqual((await world.vhosts.why('aries.test')).notes, notes)
  })
})
