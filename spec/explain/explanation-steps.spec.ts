import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { explanationSteps } from '../../lib/explain/explanation-steps.ts'
import { World } from '../support/world.ts'

describe('explanationSteps()', () => {
  it('goes from the Host as it was sent to what a request would get', async () => {
    await using world = await World.start({ vhostDir: ['%0', '.any.%2+'], getVersion: () => 'v1' })
    world.site('.any.test', 'any')
    const steps = () => stepsOf(world, 'Aries.Test.:80')
    assert.deepEqual(await steps(), [
      ['host', 'Aries.Test.:80'],
      ['hostname', 'aries.test'],
      ['patterns', '%0, .any.%2+'],
      ['path', world.path('.any.test')],
      ['real path', world.path('.any.test')],
      ['version', 'v1'],
      ['entry', world.path('.any.test/app/index.js')],
      ['state', 'not loaded yet'],
      ['request', "the app's own answer"],
    ])
    await world.get('aries.test')
    assert.deepEqual((await steps()).at(-2), ['state', 'serving'])
  })

  it('says which rule refused a host, and makes invisible bytes visible', async () => {
    await using world = await World.start()
    const { hostname, error, request } = Object.fromEntries(await stepsOf(world, 'a..b'))
    assert.deepEqual(
      [hostname, error, request],
      [
        'refused: a label is empty',
        'ERR_VHOST_HOST: The request names no valid host: a label is empty',
        '400 Bad Request',
      ],
    )
    for (const [host, shown] of [
      ['aries.test ', '"aries.test "'],
      ['\u001b[2J', '"\\u001b[2J"'],
      ['b\u00fc\u202e\ud800', '"b\\u00fc\\u202e\\ud800"'],
      ['a\r\nHost: b', '"a\\r\\nHost: b"'],
      ['', '""'],
    ] as const) {
      assert.deepEqual((await stepsOf(world, host))[0], ['host', shown])
    }
  })

  it('says what a request would get if no app answers', async () => {
    await using world = await World.start({ getVersion: () => 1 })
    world.write('static.test/static/index.html', '')
    world.write('bad.test/app/index.js', 'throw new Error("boom\\nand more")')
    await world.get('bad.test')
    for (const [host, request] of [
      [undefined, '404 Not Found: it has no Host'],
      ['nobody.test', '404 Not Found: no vhost has this name'],
      ['static.test', '404 Not Found, or a file: this vhost has no app'],
      ['bad.test', '500 Internal Server Error'],
    ] as const) {
      assert.equal(new Map(await stepsOf(world, host)).get('request'), request)
    }
    assert.deepEqual((await stepsOf(world, 'bad.test')).slice(-3), [
      ['state', 'failed'],
      [
        'error',
        `ERR_VHOST_LOAD: The app cannot be loaded: Error: boom, at ${world.path('bad.test/app/index.js')}:1`,
      ],
      ['request', '500 Internal Server Error'],
    ])
    await world.vhosts.close()
    assert.deepEqual((await stepsOf(world, 'bad.test')).at(-1), [
      'request',
      '503 Service Unavailable, for now',
    ])
  })

  it('ends with what is unusual about the vhost', async () => {
    await using world = await World.start()
    world.write('aries.test/package.json', '{ "vhost": { "moduelName": "x" } }')
    world.write('aries.test/app/index.js', 'process.env.SPEC_STEPS = "1"; module.exports = (q, s) => s.end()')
    await world.get('aries.test')
    const steps = (await stepsOf(world, 'aries.test')).slice(-2)
    assert.deepEqual(steps[0], ['environment', 'wrote SPEC_STEPS'])
    assert.match(String(steps[1]), /^note,.*moduelName/)
    delete process.env.SPEC_STEPS
  })
})

async function stepsOf(world: World, host: string | undefined): Promise<[string, string][]> {
  return explanationSteps(await world.vhosts.why(host))
}
