import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, renameSync } from 'node:fs'
import { describe, it } from 'node:test'
import type { VhostExplanation } from '../lib/index.ts'
import { eventually, World } from './support/world.ts'

const NOTHING: VhostExplanation = {
  host: null,
  hostname: null,
  refusal: null,
  patterns: [],
  vhostPath: null,
  realPath: null,
  version: null,
  entry: null,
  state: null,
  outcome: 'no vhost',
  status: 404,
  error: null,
  environmentWrites: [],
  notes: [],
}

describe('why', () => {
  it('follows a host to the entry of its app, and loads nothing', async () => {
    await using world = await World.start({ getVersion: () => 'v1' })
    world.site('releases/1', 'one')
    world.link('aries.test', world.path('releases/1'))
    assert.deepEqual(await world.vhosts.why('Aries.TEST.:8080'), {
      host: 'Aries.TEST.:8080',
      hostname: 'aries.test',
      refusal: null,
      patterns: ['%0'],
      vhostPath: world.path('aries.test'),
      realPath: world.path('releases/1'),
      version: 'v1',
      entry: world.path('releases/1/app/index.js'),
      state: null,
      outcome: 'app',
      status: 200,
      error: null,
      environmentWrites: [],
      notes: [],
    })
    assert.deepEqual(world.told, [])
    assert.deepEqual(world.vhosts.stats().vhosts, [])
    assert.equal(world.vhosts.stats().totals.hostnames, 0)
  })

  it('gives the version that a load would have', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    const { version } = await world.vhosts.why('aries.test')
    assert.equal((await world.vhosts.load('aries.test'))?.version, version)
  })

  it('says if the base path does not exist', async () => {
    await using world = await World.start({ basePath: '/no/such/folder' })
    const { outcome, notes } = await world.vhosts.why('nobody.test')
    assert.deepEqual([outcome, notes], ['no vhost', ['there is no folder at basePath, /no/such/folder']])
    await using other = await World.start({ basePath: '/no/such/folder', getVhostPath: () => undefined })
    assert.deepEqual((await other.vhosts.why('nobody.test')).notes, [])
  })

  it('suggests the vhost whose name is almost the same', async () => {
    await using world = await World.start({ vhostDir: ['%0/current', '%0'] })
    for (const name of ['aries.example.test', '.leo.example.test', 'taurus.example.test'])
      mkdirSync(world.path(name))
    const meant = [`did you mean 'aries.example.test'?`]
    for (const host of [
      'arise.example.test',
      'arie.example.test',
      'ariees.example.test',
      'aries.exampel.test',
      'arius.example.test:3000',
      'www.aries.example.test',
    ])
      assert.deepEqual((await world.vhosts.why(host)).notes, meant, host)
    for (const host of ['virgo.example.test', 'leo.example.test', 'aries.example', 'test'])
      assert.deepEqual((await world.vhosts.why(host)).notes, [], host)
  })

  it('says if the folder of a name leads to no vhost', async () => {
    await using world = await World.start({ vhostDir: ['%0/current', '%0'] })
    const notesOf = async (host: string) => (await world.vhosts.why(host)).notes
    world.link('aries.test/current', 'releases/9')
    world.write('arise.test/current', '')
    world.link('leo.test', 'nowhere')
    assert.deepEqual(await notesOf('aries.test'), ['aries.test/current is there, but leads to no vhost'])
    assert.deepEqual(await notesOf('arise.test'), ['arise.test/current is there, but leads to no vhost'])
    assert.deepEqual(await notesOf('leo.test'), ['leo.test is there, but leads to no vhost'])
    await using other = await World.start({ vhostDir: ['%0/current', '%0/live'] })
    mkdirSync(other.path('leo.test'))
    const { notes } = await other.vhosts.why('leo.test')
    assert.deepEqual(notes, ['there is no leo.test/current, nor leo.test/live'])
  })

  it('says if a folder has a name that no request can ask for', async () => {
    await using world = await World.start({ vhostDir: ['%0/current', '%0', '.any.%2+'] })
    for (const name of ['Aries.test', 'bücher.test', 'Other.test', 'a b.test', 'taurus.test'])
      mkdirSync(world.path(name))
    const notesOf = async (host: string) => (await world.vhosts.why(host)).notes
    assert.deepEqual(await notesOf('ARIES.test:80'), [
      `the folder "Aries.test" is not asked for: browsers ask for 'aries.test'`,
    ])
    assert.deepEqual(await notesOf('xn--bcher-kva.test'), [
      `the folder "bücher.test" is not asked for: browsers ask for 'xn--bcher-kva.test'`,
    ])
    assert.deepEqual(await notesOf('bücher.test:3000'), [`browsers ask for 'xn--bcher-kva.test'`])
    assert.deepEqual(await notesOf('nobody.test'), [])
    await using other = await World.start({ vhostDir: '%-1/%-2' })
    mkdirSync(other.path('Aries.test'))
    assert.deepEqual((await other.vhosts.why('aries.test')).notes, [])
  })

  it('says "no vhost" if nothing is there', async () => {
    await using world = await World.start()
    assert.deepEqual(await world.vhosts.why('nobody.test'), {
      ...NOTHING,
      host: 'nobody.test',
      hostname: 'nobody.test',
      patterns: ['%0'],
    })
    assert.deepEqual(await world.vhosts.why('[::1]:80'), {
      ...NOTHING,
      host: '[::1]:80',
      hostname: '[::1]',
      patterns: ['%0'],
    })
    assert.deepEqual(await world.vhosts.why(), NOTHING)
    for (const name of ['__proto__', 'constructor', 'node_modules']) {
      assert.equal((await world.vhosts.why(name)).outcome, 'no vhost', name)
    }
  })

  it('says "no app" if the vhost has none', async () => {
    await using world = await World.start()
    world.write('aries.test/static/index.html', 'aries')
    assert.deepEqual(await world.vhosts.why('aries.test'), {
      ...NOTHING,
      host: 'aries.test',
      hostname: 'aries.test',
      patterns: ['%0'],
      vhostPath: world.path('aries.test'),
      realPath: world.path('aries.test'),
      outcome: 'no app',
      notes: ["there is no folder 'app' in it"],
    })
    world.write('taurus.test/app', 'a file')
    assert.deepEqual((await world.vhosts.why('taurus.test')).notes, ["there is no folder 'app' in it"])
  })

  it('looks for no app folder if the vhost itself is the app folder', async () => {
    await using world = await World.start({ appDir: '.' })
    mkdirSync(world.path('aries.test'))
    const { outcome, notes } = await world.vhosts.why('aries.test')
    assert.deepEqual([outcome, notes], ['no app', []])
  })

  it('says "refused" for any host whose requests are refused, and by which rule', async () => {
    await using world = await World.start()
    const hosts = ['', '..', '../etc', '/etc/passwd', 'a\0b', 'a b', '127.1', '$HOME', '%2e%2e', 'b\u00fc']
    for (const host of [...hosts, 'a:99999', '[::1', '-', '\ud800', 'a\r\nHost: b', 'x'.repeat(10_000)]) {
      const { error, refusal, ...rest } = await world.vhosts.why(host)
      const notes = host === 'b\u00fc' ? [`browsers ask for 'xn--b-eha'`] : []
      assert.deepEqual(rest.notes, notes)
      assert.deepEqual(
        { ...rest, refusal: null, notes: [] },
        { ...omitError(NOTHING), host, outcome: 'refused', status: 400 },
      )
      assert.equal(error?.message, `The request names no valid host: ${refusal}`)
      assert.equal(error?.code, 'ERR_VHOST_HOST')
      assert.match(error?.message ?? '', /^The request names no valid host: \w/)
      assert.deepEqual({ ...error, code: 0, message: 0 }, emptyError())
    }
  })

  it('says what serves', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    await world.get('aries.test')
    const { state, outcome, status, error } = await world.vhosts.why('aries.test')
    assert.deepEqual([state, outcome, status, error], ['serving', 'app', 200, null])
  })

  it('says what serves other names from the same folder, even if it is away or has no app', async () => {
    await using world = await World.start({ vhostDir: ['%0', '.any'], updateInterval: 60_000, watch: false })
    world.site('releases/1', 'one')
    world.link('.any', 'releases/1')
    await world.get('aries.test')
    for (const change of [() => world.link('.any', 'releases'), () => world.remove('.any')]) {
      change()
      const { state, outcome, status } = await world.vhosts.why('taurus.test')
      assert.deepEqual([state, outcome, status], ['serving', 'app', 200])
      assert.equal(await world.body('leo.test'), 'one')
    }
  })

  it('reports a load in progress', async () => {
    await using world = await World.start()
    world.write(
      'aries.test/app/index.js',
      `module.exports = new Promise(resolve => {
        process.once('spec:go', () => resolve((req, res) => res.end('aries')))
        process.emit('spec:loading')
      })`,
    )
    const loading = new Promise(resolve => process.once('spec:loading', resolve))
    const answer = world.body('aries.test')
    await loading
    const { state, status } = await world.vhosts.why('aries.test')
    assert.deepEqual([state, status], ['loading', 200])
    process.emit('spec:go' as never)
    assert.equal(await answer, 'aries')
    assert.equal((await world.vhosts.why('aries.test')).state, 'serving')
  })

  it('says why nothing serves', async () => {
    await using world = await World.start({ getVersion: () => 1, loadTimeout: 500 })
    world.write('aries.test/app/index.js', 'throw new Error("boom")')
    world.write('taurus.test/app/index.js', 'module.exports = { answer: 42 }')
    world.write('virgo.test/app/index.js', 'module.exports = new Promise(() => {})')
    for (const [host, status, code, cause] of [
      ['aries.test', 500, 'ERR_VHOST_LOAD', 'Error: boom'],
      ['taurus.test', 500, 'ERR_VHOST_NO_HANDLER', null],
      ['virgo.test', 503, 'ERR_VHOST_LOAD_TIMEOUT', null],
    ] as const) {
      const answer = await world.get(host)
      const why = await world.vhosts.why(host)
      assert.equal(answer.status, status, host)
      assert.equal(why.status, status, host)
      assert.equal(why.state, 'failed')
      assert.equal(why.outcome, 'app')
      assert.equal(why.entry, world.path(host, 'app/index.js'))
      const { message, stack, since, ...error } = why.error as NonNullable<typeof why.error>
      assert.equal(stack?.startsWith('Error: boom\n') ?? false, cause !== null)
      assert.ok(Date.parse(String(since)) <= Date.now())
      assert.deepEqual(error, { code, cause, version: 1, realPath: world.path(host) })
      assert.ok(!message.includes(world.base))
    }
  })

  it('predicts that a request is refused because every app is busy', async () => {
    await using world = await World.start({ maxApps: 1, drainTimeout: 0 })
    world.write('aries.test/app/index.js', 'module.exports = () => {}')
    world.site('taurus.test', 'taurus')
    const client = new AbortController()
    const busy = world.get('aries.test', '/', { signal: client.signal }).catch(() => {})
    await eventually(() => world.vhosts.stats().totals.inFlight === 1)
    const { outcome, status, state, error } = await world.vhosts.why('taurus.test')
    assert.deepEqual([outcome, status, state, error?.code], ['app', 503, null, 'ERR_VHOST_OVERLOADED'])
    assert.equal((await world.get('taurus.test')).status, 503)
    assert.equal((await world.vhosts.why('aries.test')).status, 200)
    client.abort()
    await busy
    await eventually(async () => (await world.vhosts.why('taurus.test')).status === 200)
  })

  it('predicts that an app folder without an entry fails', async () => {
    await using world = await World.start()
    world.write('aries.test/app/readme.txt', '')
    const { entry, outcome, status, state } = await world.vhosts.why('aries.test')
    assert.deepEqual([entry, outcome, status, state], [null, 'app', 500, null])
    assert.equal((await world.get('aries.test')).status, 500)
  })

  it('predicts, for each fault on disk that fails a load, the message of the load', async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    world.write('empty.test/app/index.js', '')
    world.write('bare.test/app/readme.txt', '')
    world.site('folder.test', 'folder')
    world.write('folder.test/package.json/readme.txt', '')
    world.link('outside.test/app', world.path('aries.test/app'))
    for (const name of ['empty', 'bare', 'folder', 'outside']) {
      const before = await world.vhosts.why(`${name}.test`)
      assert.equal(before.status, 500)
      assert.equal((await world.get(`${name}.test`)).status, 500)
      const after = await world.vhosts.why(`${name}.test`)
      assert.ok(after.error)
      assert.equal(before.error?.message, after.error.message)
    }
  })

  it('says what is broken if an older release still serves', async () => {
    let version = 1
    await using world = await World.start({ getVersion: () => version, updateInterval: 10 })
    world.site('releases/1', 'one')
    world.write('releases/2/app/index.js', 'throw new Error("boom")')
    world.link('aries.test', world.path('releases/1'))
    await world.get('aries.test')
    for (const [realPath, change] of [
      [
        world.path('releases/1'),
        () => {
          world.write('releases/1/app/index.js', 'throw new Error("boom")')
          version = 2
        },
      ],
      [world.path('releases/2'), () => world.link('aries.test', world.path('releases/2'))],
    ] as const) {
      const failed = world.event('error')
      change()
      await failed
      const why = await world.vhosts.why('aries.test')
      assert.equal(why.state, 'serving older')
      assert.equal(why.status, 200)
      assert.equal(why.outcome, 'app')
      assert.equal(why.realPath, realPath)
      assert.equal(why.version, 2)
      assert.equal(why.error?.version, 2)
      assert.equal(why.error?.realPath, realPath)
      assert.equal(why.error?.cause, 'Error: boom')
      assert.equal(await world.body('aries.test'), 'one')
    }
  })

  it('says what a request would get for a folder that cannot be read', async () => {
    const fault = { code: 'EIO' }
    await using world = await World.start({
      getVersion: () => {
        throw Object.assign(new Error(`${fault.code}: no luck`), fault)
      },
    })
    world.site('aries.test', 'aries')
    for (const code of ['EIO', 'EACCES']) {
      fault.code = code
      const why = await world.vhosts.why('aries.test')
      assert.deepEqual([why.status, why.vhostPath], [500, world.path('aries.test')])
      assert.equal(why.error?.code, 'ERR_VHOST_LOAD')
      assert.equal(why.error?.cause, `Error: ${code}: no luck`)
      assert.equal((await world.get('aries.test')).status, 500)
    }
  })

  it('gives the reason for a folder of mode 000', {
    skip: process.getuid?.() === 0 && 'root may read all',
  }, async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    chmodSync(world.path('aries.test'), 0)
    const { status, error } = await world.vhosts.why('aries.test')
    assert.equal(status, 404)
    assert.match(error?.cause ?? '', /EACCES/)
    chmodSync(world.path('aries.test'), 0o755)
  })

  it('says that what serves goes on when the disk fails', async () => {
    let isFailing = false
    await using world = await World.start({
      getVersion: () => {
        if (isFailing) throw Object.assign(new Error('EIO: no luck'), { code: 'EIO' })
        return 1
      },
    })
    world.site('aries.test', 'aries')
    await world.get('aries.test')
    isFailing = true
    const failing = await world.vhosts.why('aries.test')
    assert.deepEqual([failing.state, failing.outcome, failing.status], ['serving older', 'app', 200])
    assert.equal(failing.error?.cause, 'Error: EIO: no luck')
    isFailing = false
    await eventually(async () => (await world.vhosts.why('aries.test')).state === 'serving')
    renameSync(world.path(), `${world.path()}.away`)
    await eventually(async () => (await world.vhosts.why('aries.test')).state === 'serving older')
    const away = await world.vhosts.why('aries.test')
    assert.deepEqual(
      [away.outcome, away.status, world.vhosts.stats().vhosts[0]?.state],
      ['app', 200, away.state],
    )
    assert.deepEqual(away.notes, [
      `there is no folder at basePath, ${world.path()}`,
      'no app is there now; the one that is loaded serves on',
    ])
    assert.equal((await world.get('aries.test')).status, 200)
    renameSync(`${world.path()}.away`, world.path())
  })
})

function omitError({ error: _, ...rest }: VhostExplanation): Omit<VhostExplanation, 'error'> {
  return rest
}

function emptyError(): object {
  return { code: 0, message: 0, cause: null, stack: null, since: null, version: null, realPath: null }
}
