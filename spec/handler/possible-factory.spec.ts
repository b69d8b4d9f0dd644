import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { VhostError } from '../../lib/index.ts'
import { World } from '../support/world.ts'

describe('a function that is not given request and response', () => {
  for (const isolation of ['none', 'thread'] as const) {
    for (const [what, source] of [
      ['the app', `() => (req, res) => res.end('app')`],
      ['the app by its options', `options => require('node:http').createServer()`],
      ['an app with fetch()', `() => ({ fetch: () => new Response() })`],
      ['a promise of the app', `async () => (req, res) => res.end('app')`],
      ['a promise of a server', `async () => require('node:http').createServer()`],
    ] as const) {
      it(`that returns ${what} is refused with what to do about it, isolation: '${isolation}'`, async () => {
        await using world = await World.start({ isolation })
        world.write('aries.test/app/index.js', `module.exports = ${source}`)
        assert.equal((await world.get('aries.test')).status, 500)
        const [error] = world.errors as VhostError[]
        assert.equal(error?.code, 'ERR_VHOST_NO_HANDLER')
        assert.match(error?.message ?? '', /^aries\.test: .*exportName with brackets, 'default\(\)'$/)
      })
    }
  }

  for (const [exportName, source] of [
    [undefined, `exports.app = () => require('node:http').createServer()`],
    ['createApp', `exports.createApp = () => require('node:http').createServer()`],
  ] as const) {
    it(`is named in the refusal, exportName: ${exportName ?? 'none'}`, async () => {
      await using world = await World.start(exportName === undefined ? {} : { exportName })
      world.write('aries.test/app/index.js', source)
      assert.equal((await world.get('aries.test')).status, 500)
      const { message } = world.errors[0] as VhostError
      assert.match(message, exportName ? /brackets, 'createApp\(\)'$/ : /brackets, 'app\(\)'$/)
    })
  }

  it('that returns a Response is refused with what to do about it', async () => {
    await using world = await World.start()
    world.write('aries.test/app/index.js', `module.exports = async request => new Response('answer')`)
    assert.equal((await world.get('aries.test')).status, 500)
    assert.match(
      (world.errors[0] as VhostError).message,
      /gives a Response: export an object with it as fetch$/,
    )
  })

  it('that answers, now or later, is a handler like any other', async () => {
    await using world = await World.start()
    const handlers = {
      'now.test': `(...given) => { given[1].end('answer'); return () => {} }`,
      'later.test': `async (...given) => { setTimeout(() => given[1].end('answer'), 10); return given[1] }`,
      'other.test': `(...given) => { setTimeout(() => given[1].end('answer'), 10) }`,
    }
    for (const [host, source] of Object.entries(handlers)) {
      world.write(`${host}/app/index.js`, `module.exports = ${source}`)
      assert.equal(await world.body(host), 'answer', host)
    }
    world.write('throws.test/app/index.js', `module.exports = async (...given) => { throw new Error('own') }`)
    assert.equal((await world.get('throws.test')).status, 500)
    assert.match(String(world.errors[0]), /own/)
  })
})
