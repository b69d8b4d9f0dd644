import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { describe, it } from 'node:test'
import { type VhostRouterOptions, vhostRouter } from '../lib/index.ts'
import { resolveOptions } from '../lib/options.ts'
import { World } from './support/world.ts'

describe('resolveOptions', () => {
  it('completes options with the documented defaults', () => {
    const { vhostPatterns, ...settings } = resolveOptions()
    assert.deepEqual(settings, {
      basePath: resolve('/var/www'),
      getVhostPath: undefined,
      appDir: 'app',
      moduleName: undefined,
      exportName: undefined,
      modulesDir: 'node_modules',
      getModulePaths: undefined,
      getVersion: undefined,
      updateInterval: 1000,
      watch: true,
      isolation: 'none',
      memoryLimit: undefined,
      requestTimeout: 0,
      heartbeatTimeout: 1500,
      user: undefined,
      env: {},
      maxApps: 100,
      idleTimeout: 0,
      loadTimeout: 30_000,
      drainTimeout: 30_000,
      maxConcurrentLoads: 4,
      trusts: undefined,
    })
    assert.deepEqual(
      vhostPatterns.map(({ pathOf }) => pathOf('aries.test')),
      ['aries.test'],
    )
  })

  it('treats undefined as absent', () => {
    const names = Object.keys(EVERY_OPTION)
    const { vhostPatterns: _, ...settings } = resolveOptions(
      Object.fromEntries(names.map(name => [name, undefined])),
    )
    const { vhostPatterns: __, ...defaults } = resolveOptions({})
    assert.deepEqual(settings, defaults)
  })

  it('gives settings that nobody changes', () => {
    assert.ok(Object.isFrozen(resolveOptions()))
  })

  it('accepts every option', () => {
    const { vhostPatterns, trusts, ...settings } = resolveOptions(EVERY_OPTION)
    const { vhostDir: _, trustProxy: __, ...given } = EVERY_OPTION
    assert.deepEqual(settings, { ...given, basePath: resolve('sites') })
    assert.deepEqual(
      vhostPatterns.map(({ pathOf }) => pathOf('aries.test')),
      ['aries.test/current', '.default'],
    )
    assert.equal(trusts?.('127.0.0.1', 0), true)
    assert.equal(trusts?.('192.0.2.1', 0), false)
  })

  it('looks packages up in modulesDir if that is not the folder of Node', () => {
    const { getModulePaths } = resolveOptions({ modulesDir: 'vendor/packages' })
    assert.deepEqual(getModulePaths?.('/srv/aries'), [resolve('/srv/aries/vendor/packages')])
  })

  it('accepts the least and the greatest value of a number', () => {
    for (const [name, least, most] of NUMBERS) {
      assert.equal(resolveOptions({ [name]: least })[name], least)
      assert.equal(resolveOptions({ [name]: most })[name], most)
    }
  })

  for (const [value, trusted] of [
    [true, ['127.0.0.1', '192.0.2.1']],
    [false, []],
    [1, ['127.0.0.1', '192.0.2.1']],
    [0, []],
    ['loopback', ['127.0.0.1']],
    ['loopback, 192.0.2.0/24', ['127.0.0.1', '192.0.2.1']],
    [['127.0.0.1', 'uniquelocal'], ['127.0.0.1']],
    [(address: string) => address === '192.0.2.1', ['192.0.2.1']],
  ] satisfies [VhostRouterOptions['trustProxy'], string[]][]) {
    it(`trusts as Express does with ${JSON.stringify(value) ?? 'a function'}`, () => {
      const { trusts } = resolveOptions({ trustProxy: value })
      const asked = ['127.0.0.1', '192.0.2.1'].filter(address => trusts?.(address, 0))
      assert.deepEqual(asked, trusted)
    })
  }
})

const GIVEN_OTHERWISE: Record<string, (name: string, value: unknown) => VhostRouterOptions> = {
  inherited: (name, value) => Object.assign(Object.create({ [name]: value }), { basePath: '/srv' }),
  'a getter of a class': (name, value) =>
    Object.create(Object.defineProperty({}, name, { get: () => value, enumerable: false })),
  'not enumerable': (name, value) => Object.defineProperty({}, name, { value }),
}

describe('vhostRouter, with wrong options,', () => {
  const notText = [null, '', 0, true, {}, [], () => 'app', 'a\0b']
  const notInside = [...notText, '/app', '..', '.', '../app', 'app/..', './app', 'app/', 'a//b']
  const notNumber = [null, '5', Number.NaN, Number.POSITIVE_INFINITY, 1.5, -1, {}, [1], true]
  const notFunction = [null, 'text', {}, 1, true]
  const bad: Record<keyof VhostRouterOptions, unknown[]> = {
    basePath: notText,
    vhostDir: [
      null,
      '',
      [],
      ['%0', undefined],
      sparse('%0', '%1'),
      ['%0', ''],
      ['%0', 5],
      5,
      {},
      true,
      '%x',
      '%0.static',
      '/srv/%0',
      '../%0',
    ]
      .concat(['%0/..', '%0/./a', '%p/%0', ['%0', '%p'], '%0\\a', '%0\0'])
      .concat([() => '%0'] as never[]),
    getVhostPath: notFunction,
    appDir: notInside.filter(value => value !== '.'),
    moduleName: notInside,
    exportName: [null, '', 'a b', 'a.b', 'app(1)', 'app()()', '()', '1a', 5, {}],
    modulesDir: notInside,
    getModulePaths: [...notFunction, ['/srv/packages']],
    getVersion: notFunction,
    updateInterval: [...notNumber, 0, 2 ** 31],
    watch: [null, 0, 1, 'yes', {}],
    isolation: [null, 'threads', 'None', true, ['process']],
    memoryLimit: [...notNumber, 0, 2 ** 20, 2 ** 41],
    requestTimeout: [...notNumber, 2 ** 31],
    heartbeatTimeout: [...notNumber, 2 ** 31],
    user: [null, 'root', 0, true],
    maxApps: [...notNumber, 0, 1_000_001],
    idleTimeout: [...notNumber, 2 ** 31],
    loadTimeout: [...notNumber, 0, 2 ** 31],
    drainTimeout: [...notNumber, 2 ** 31],
    maxConcurrentLoads: [...notNumber, 0, 10_001],
    trustProxy: [
      null,
      Number.NaN,
      -1,
      1.5,
      Number.POSITIVE_INFINITY,
      sparse('loopback', '::1'),
      'nobody',
      '10.0.0.0/99',
      '',
      {},
      [1],
      ['nobody'],
      Symbol('x'),
    ],
    env: [null, 'PORT=80', 5, [], { PORT: 80 }, { 'A=B': '' }, { '': '1' }, { A: 'a\0b' }],
  }
  for (const [name, values] of Object.entries(bad)) {
    it(`refuses a bad value of ${name} and names the option`, () => {
      for (const value of values) {
        assert.throws(
          () => vhostRouter({ [name]: value }),
          (error: Error) => {
            assertOptionError(error)
            return error.message.includes(name) || (name === 'vhostDir' && error.message.includes('pattern'))
          },
          `${name}: ${String(value)}`,
        )
      }
    })
  }

  for (const [wrong, right] of [
    ['basepath', 'basePath'],
    ['base_path', 'basePath'],
    ['maxApp', 'maxApps'],
    ['vhostdir', 'vhostDir'],
    ['appdir', 'appDir'],
    ['loadTimout', 'loadTimeout'],
    ['updateinterval', 'updateInterval'],
    ['module_name', 'moduleName'],
    ['getServerPath', 'getVhostPath'],
    ['trust proxy', 'trustProxy'],
  ] as const) {
    it(`suggests ${right} for ${wrong}`, () => {
      assert.throws(
        () => vhostRouter({ [wrong]: undefined }),
        (error: Error) => {
          assertOptionError(error)
          return error.message.includes(`"${wrong}"`) && error.message.includes(`'${right}'`)
        },
      )
    })
  }

  it('knows no names that every object has', () => {
    for (const name of ['constructor', 'toString', '__proto__']) {
      assert.throws(() => vhostRouter(JSON.parse(`{${JSON.stringify(name)}: 1}`)), {
        code: 'ERR_VHOST_OPTION',
      })
    }
  })

  for (const [how, give] of Object.entries(GIVEN_OTHERWISE)) {
    it(`checks an option that is ${how}, and uses it`, () => {
      assert.equal(resolveOptions(give('maxApps', 5)).maxApps, 5)
      assert.throws(
        () => vhostRouter(give('maxApps', 'x')),
        /^TypeError: option 'maxApps' must be a whole number of apps, 1 to 1000000, not "x"$/,
      )
    })
  }

  it('does not accept an inherited misspelt name, either', () => {
    assert.throws(
      () => vhostRouter(Object.create({ maxApp: 5 })),
      /has no option "maxApp"; did you mean 'maxApps'/,
    )
  })

  it('says so if it is mounted without having been called', async () => {
    await using world = await World.start({}, (app, { static: files }) => {
      app.use('/router', vhostRouter as never)
      app.use('/files', files as never)
    })
    for (const [path, name] of [
      ['/router', 'vhostRouter()'],
      ['/files', 'static()'],
    ] as const) {
      world.errors.length = 0
      await world.get('aries.test', path)
      const { message } = world.errors[0] as Error
      assert.equal(message, `${name} was given a request: mount what it returns, as in app.use(${name})`)
    }
  })

  it('suggests no option if none is spelt alike', () => {
    for (const name of ['root', 'port', 'directory'])
      assert.throws(() => vhostRouter({ [name]: '/srv' }), {
        message: `vhostRouter() has no option "${name}"`,
        code: 'ERR_VHOST_OPTION',
      })
  })

  it('reads an option once, so that the value checked is the value used', () => {
    let reads = 0
    const options = {
      get maxApps() {
        reads++
        return reads === 1 ? 5 : 'x'
      },
    }
    assert.equal(resolveOptions(options as VhostRouterOptions).maxApps, 5)
  })

  it('ignores what a library adds to every object', () => {
    const all = Object.prototype as { maxApps?: unknown; extend?: unknown }
    Object.assign(all, { maxApps: 'x', extend: () => {} })
    try {
      assert.equal(resolveOptions({}).maxApps, 100)
    } finally {
      delete all.maxApps
      delete all.extend
    }
  })

  it('refuses options that are not an object', () => {
    const holdNothing = [Promise.resolve({ basePath: '/srv' }), new Map([['basePath', '/srv']]), new Date()]
    for (const options of [null, '/var/www', 5, true, ['/var/www'], [], () => ({}), ...holdNothing]) {
      assert.throws(() => vhostRouter(options as never), { name: 'TypeError', code: 'ERR_VHOST_OPTION' })
    }
  })

  it('never shows the content of env', () => {
    for (const env of [{ PASSWORD: 'secret', PORT: 80 }, 'PASSWORD=secret', ['secret']] as never[]) {
      assert.throws(
        () => vhostRouter({ env, isolation: 'process' }),
        (error: Error) => !/secret/.test(error.message),
      )
    }
  })

  it('says that env, memoryLimit, requestTimeout and heartbeatTimeout need isolation', () => {
    assert.throws(
      () => vhostRouter({ env: { PORT: '80' } }),
      /'env'.*needs isolation: 'thread' or 'process': with 'none'.*share/,
    )
    assert.throws(
      () => vhostRouter({ env: {} }),
      /'env'.*needs isolation: 'thread' or 'process': with 'none'.*share/,
    )
    assert.throws(
      () => vhostRouter({ env: () => ({}) }),
      /'env'.*needs isolation: 'thread' or 'process': with 'none'.*share/,
    )
    assert.throws(
      () => vhostRouter({ memoryLimit: 2 ** 28 }),
      /'memoryLimit'.*needs isolation: 'thread' or 'process': with 'none'.*share/,
    )
    assert.throws(
      () => vhostRouter({ requestTimeout: 1000 }),
      /'requestTimeout'.*needs isolation: 'thread' or 'process': with 'none'/,
    )
    assert.throws(
      () => vhostRouter({ heartbeatTimeout: 5000 }),
      /'heartbeatTimeout'.*needs isolation: 'thread' or 'process': with 'none'/,
    )
  })

  it('says that user needs isolation by process and root', () => {
    assert.throws(() => vhostRouter({ user: 'owner' }), /'user' needs isolation: 'process', not 'none'/)
    assert.throws(
      () => vhostRouter({ user: 'owner', isolation: 'thread' }),
      /'user' needs isolation: 'process', not 'thread'/,
    )
    const { getuid } = process
    process.getuid = () => 1000
    try {
      assert.throws(
        () => vhostRouter({ user: 'owner', isolation: 'process' }),
        /needs a router that runs as root/,
      )
    } finally {
      if (getuid) process.getuid = getuid
    }
  })
})

const NUMBERS = [
  ['updateInterval', 1, 2 ** 31 - 1],
  ['maxApps', 1, 1_000_000],
  ['idleTimeout', 0, 2 ** 31 - 1],
  ['loadTimeout', 1, 2 ** 31 - 1],
  ['drainTimeout', 0, 2 ** 31 - 1],
  ['maxConcurrentLoads', 1, 10_000],
] as const

/** Every option, with a value other than its default if there is one. */
const EVERY_OPTION = {
  basePath: 'sites',
  vhostDir: ['%0/current', '.default'],
  getVhostPath: hostname => hostname,
  appDir: '.',
  moduleName: 'dist/main',
  exportName: 'createApp()',
  modulesDir: 'vendor/packages',
  getModulePaths: () => [],
  getVersion: () => 1,
  updateInterval: 50,
  watch: false,
  isolation: 'thread',
  memoryLimit: 2 ** 27,
  requestTimeout: 1000,
  heartbeatTimeout: 0,
  user: undefined,
  maxApps: 1,
  idleTimeout: 60_000,
  loadTimeout: 5000,
  drainTimeout: 0,
  maxConcurrentLoads: 1,
  trustProxy: 'loopback',
  env: { PORT: '80' },
} satisfies Required<VhostRouterOptions>

/** An array with a hole in it. */
function sparse<T>(first: T, last: T): T[] {
  const array = [first]
  array[2] = last
  return array
}

function assertOptionError(error: Error): void {
  assert.ok(error instanceof TypeError, String(error))
  assert.equal((error as NodeJS.ErrnoException).code, 'ERR_VHOST_OPTION', error.message)
}
