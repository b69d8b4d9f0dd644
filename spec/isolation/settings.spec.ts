import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { VhostError } from '../../lib/index.ts'
import { World } from '../support/world.ts'

describe('isolation, as a function,', () => {
  const bad: [name: string, isolation: () => unknown, cause: RegExp][] = [
    ...[undefined, null, 'threads', true].map(
      value =>
        [
          `gives ${value}`,
          () => value,
          /^option 'isolation' must give 'none', 'thread' or 'process', not /,
        ] as [string, () => unknown, RegExp],
    ),
    [
      'throws',
      () => {
        throw new Error('no such table')
      },
      /^no such table$/,
    ],
  ]
  for (const [name, isolation, expected] of bad) {
    it(`fails the load if it ${name}, and why() says so`, async () => {
      await using world = await World.start({ isolation: isolation as () => 'none' })
      world.site('aries.test', 'aries')
      const { error } = await world.vhosts.why('aries.test')
      assert.equal((await world.get('aries.test')).status, 500)
      const { code, cause } = world.errors[0] as VhostError & { cause: Error }
      assert.equal(code, 'ERR_VHOST_LOAD')
      assert.match(cause.message, expected)
      assert.equal(error?.code, 'ERR_VHOST_LOAD')
    })
  }
})

describe('getModulePaths, when apps run in the process of the router,', () => {
  it('fails the load if it returns an invalid value', async () => {
    const bad = [5, '/srv', undefined, [5], new Array(1)].map(value => () => value as string[])
    const rejecting = (): never => Promise.reject(new Error('no such table')) as never
    for (const getModulePaths of [...bad, rejecting]) {
      await using world = await World.start({ getModulePaths })
      world.site('aries.test', 'aries')
      assert.equal((await world.get('aries.test')).status, 500)
      const { code, cause } = world.errors[0] as VhostError & { cause: { code: string } }
      assert.deepEqual([code, cause.code], ['ERR_VHOST_LOAD', 'ERR_VHOST_OPTION'])
    }
  })
})
