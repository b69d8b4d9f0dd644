import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, it, type TestContext } from 'node:test'
import { roomToWrite, writeLine } from '../lib/write-line.ts'
import { runChild } from './support/child.ts'
import { eventually, World } from './support/world.ts'

describe('writeLine', () => {
  const cases: [what: string, line: string, written: string][] = [
    ['text as it is, with tabs', 'ä €\t😀', 'ä €\t😀'],
    [
      'no command to a terminal',
      '\x1b[2J\x1b]0;title\x07\x9b31m\r',
      '\ufffd[2J\ufffd]0;title\ufffd\ufffd31m\ufffd',
    ],
    ['a colour to the end of the line', '\x1b[8mhidden', '\x1b[8mhidden\x1b[0m'],
    [
      'nothing that turns the direction or breaks the line',
      'a\u202eb\u2066c\u200fd\u061ce\u2028f',
      'a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf',
    ],
  ]
  for (const [what, line, expected] of cases) {
    it(`writes ${what}`, t =>
      assert.equal(
        writtenBy(t, () => writeLine('aries.test', 'stderr', line)),
        `aries.test | ${expected}\n`,
      ))
  }

  it('keeps a name on one line', t => {
    const written = writtenBy(t, () => writeLine('1\nleo.test | forged\x1b[8m', 'stderr', 'line'))
    assert.equal(written, '1\ufffdleo.test | forged\ufffd | line\n')
  })
})

describe('what isolated apps write', () => {
  const full = '/dev/full'
  for (const isolation of ['thread', 'process']) {
    it(`does not end the router if it cannot be written: ${isolation}`, {
      skip: existsSync(full) ? false : `needs ${full}`,
    }, async () => {
      const { code, errors } = await runChild(
        `
        import { World } from 'support/world.js'
        const world = await World.start({ isolation: '${isolation}' })
        world.write('aries.test/app/index.js', 'console.log("loaded"); module.exports = (req, res) => { console.log("asked"); res.end("aries") }')
        for (let time = 0; time < 3; time++) {
          if ((await world.body('aries.test')) !== 'aries') process.exit(2)
          while (world.events('log').length < time + 2) await new Promise(resolve => setTimeout(resolve, 10))
          await new Promise(resolve => setTimeout(resolve, 50))
        }
        await world[Symbol.asyncDispose]()
        process.exit(7)
        `,
        { before: ['sh', '-c', `exec "$@" >${full}`, 'sh'] },
      )
      assert.equal(code, 7, errors)
    })
  }
})

describe('roomToWrite', () => {
  it('waits until what was written has gone out, once for all callers', async t => {
    Object.defineProperty(process.stderr, 'writableLength', { configurable: true, value: 64 * 1024 + 1 })
    t.after(() => Reflect.deleteProperty(process.stderr, 'writableLength'))
    const listeners = process.stderr.listenerCount('drain')
    let hasRoom = 0
    for (let app = 0; app < 20; app++) void roomToWrite().then(() => hasRoom++)
    await eventually(() => process.stderr.listenerCount('drain') > listeners)
    assert.deepEqual([process.stderr.listenerCount('drain'), hasRoom], [listeners + 1, 0])
    process.stderr.emit('drain')
    await eventually(() => hasRoom === 20)
    assert.equal(process.stderr.listenerCount('drain'), listeners)
    Reflect.deleteProperty(process.stderr, 'writableLength')
    await roomToWrite()
  })
})

describe('the line of an app to which no name leads any more', () => {
  it('begins with the path of the app, which cannot pass for the name of another', async t => {
    await using world = await World.start({ isolation: 'thread', vhostDir: ['%0/current', '%0'] })
    world.write(
      'aries.test/releases/leo.test/app/index.js',
      `module.exports = (req, res) => { res.write('one'); setInterval(() => console.error('tick'), 20) }`,
    )
    world.site('aries.test/releases/2', 'two')
    world.link('aries.test/current', 'releases/leo.test')
    const written: string[] = []
    t.mock.method(process.stderr, 'write', (text: string) => written.push(text) > 0)
    const held = world.get('aries.test').catch(() => undefined)
    await world.event('log')
    world.link('aries.test/current', 'releases/2')
    await eventually(() => written.at(-1) === 'aries.test/releases/leo.test | tick\n')
    t.mock.restoreAll()
    world.server.closeAllConnections()
    await held
  })
})

function writtenBy(t: TestContext, write: () => void): string {
  const { mock } = t.mock.method(process.stderr, 'write', () => true)
  write()
  const { calls } = mock
  mock.restore()
  return calls.map(({ arguments: [text] }) => text).join('')
}
