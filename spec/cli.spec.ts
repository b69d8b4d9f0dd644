import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import http from 'node:http'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { eventually, World } from './support/world.ts'

const PROGRAM = new URL('../lib/cli.js', import.meta.url).pathname
const COMMANDS = ['serve', 'status', 'why', 'reload', 'events']

type Variables = Record<string, string>

interface Ended {
  code: number | null
  out: string
  err: string
}

describe('express-van', () => {
  it('explains itself', async () => {
    const runtime = runtimeFolder()
    const help = await run(runtime, '--help')
    assert.deepEqual(await run(runtime), help)
    assert.equal(help.code, 0)
    for (const command of COMMANDS) {
      assert.match(help.out, new RegExp(`^  ${command}`, 'm'))
      const its = await run(runtime, command, '--help')
      assert.deepEqual([its.code, its.err], [0, ''])
      assert.match(its.out, new RegExp(`^Usage: express-van ${command}`))
      assert.deepEqual(await run(runtime, 'help', command), its)
    }
    assert.match((await run(runtime, '--version')).out, /^\d+\.\d+\.\d+\n$/)
  })

  it('says what to install if express is missing', async () => {
    const runtime = runtimeFolder()
    const installed = join(runtime, 'node_modules')
    cpSync(join(PROGRAM, '..'), join(installed, 'express-van', 'dist'), { recursive: true })
    cpSync('package.json', join(installed, 'express-van', 'package.json'))
    cpSync(join('node_modules', 'lru-cache'), join(installed, 'lru-cache'), { recursive: true })
    const before = [process.execPath, join(installed, 'express-van', 'dist', 'cli.js')]
    const why = 'express-van: express-van needs express, which is not installed: npm install express\n'
    for (const words of [
      ['serve', '.'],
      ['why', 'a.test'],
    ]) {
      const { code, err } = await new Program(runtime, words, { before }).ended
      assert.deepEqual([code, err], [1, why])
    }
    assert.equal((await new Program(runtime, ['--help'], { before }).ended).code, 0)
  })

  const wrong: [words: string[], says: RegExp][] = [
    [['serv'], /no command 'serv'; did you mean 'serve'\?/],
    [['run'], /no command 'run'\n/],
    [['--port', '80'], /a command comes first/],
    [['serve'], /serve needs a <basePath>/],
    [['serve', '.', 'x'], /serve takes no 'x'/],
    [['serve', '.', '--max-app', '3'], /no option --max-app; did you mean --max-apps\?/],
    [['serve', '.', '--get-version', 'x'], /no option --get-version\n/],
    [['serve', '.', '--port'], /--port/],
    [['serve', '.', '--port', 'x'], /--port takes a whole number, not 'x'/],
    [['serve', '.', '--port', '70000'], /--port is at most 65535/],
    [['serve', '.', '--max-apps', '0'], /--max-apps must be a whole number of apps/],
    [
      ['serve', '.', '--isolation', 'jail'],
      /--isolation must be 'none', 'thread' or 'process', not "jail"\n/,
    ],
    [['serve', '.', '--env', 'x'], /--env takes NAME=text, not 'x'/],
    [['serve', '.', '--env', 'A=b'], /--env needs isolation: 'thread' or 'process': with 'none' all apps/],
    [
      ['serve', '.', '--isolation', 'thread', '--memory-limit', '1'],
      /--memory-limit must be a whole number of bytes/,
    ],
    [['serve', '.', '--isolation', 'thread', '--memory-limit', '15M'], /not 15728640/],
    [['serve', '.', '--isolation', 'thread', '--memory-limit', '64mb'], /--memory-limit takes bytes, as/],
    [['serve', '.', '--app-dir', '..'], /--app-dir must be a relative path/],
    [['serve', '.', '--vhost-dir', '/%0'], /--vhost-dir: "\/%0"/],
    [['serve', '.', '--trust-proxy', 'nowhere'], /--trust-proxy/],
    [['serve', '.', '--status-host', 'status.test'], /--status-host needs a password in EXPRESS_VAN_STATUS_/],
    [['serve', 'no-such-folder'], /no folder 'no-such-folder'/],
    [['why'], /why needs a <host>/],
    [['why', 'http://a.test:3000/x'], /why takes a host, not a URL; did you mean 'a.test:3000'\?/],
    [['reload', 'HTTPS://a.test'], /reload takes a host, not a URL; did you mean 'a.test'\?/],
    [['why', 'a.test', '--base-path', '.', '--app-dir', '..'], /--app-dir must be/],
    [['why', 'a.test', '--vhost-dir', '%0/current'], /--vhost-dir needs --base-path: a server has its own\n/],
    [['serve', '.', '--static', 'app'], /--static: "app" would expose the app folder/],
    [['status', '--watch'], /status has no option --watch/],
    [['status', '--port', '-1'], /--port/],
    [['serve', '.', '--socket', ''], /--socket takes <path>, not ''/],
    [['serve', '.', '--host', ''], /--host takes <address>, not ''/],
    [['serve', ''], /there is no folder ''/],
    [
      ['why', 'a.test', '--base-path', 'no-such-folder'],
      /^express-van: there is no folder 'no-such-folder'\n/,
    ],
    [['reload', ''], /reload takes a <host>, not ''/],
    [['status', '--socket='], /--socket takes <path>, not ''/],
  ]
  for (const [words, says] of wrong) {
    it(`ends with 2 and a hint: ${words.join(' ')}`, async () => {
      const { code, out, err } = await run(runtimeFolder(), ...words)
      assert.deepEqual([code, out], [2, ''])
      assert.match(err, says)
      assert.doesNotMatch(err, /^\s+at /m)
    })
  }

  it('ends with 3 if no server answers', async () => {
    for (const words of [
      ['status'],
      ['why', 'a.test'],
      ['reload', 'a.test', '--port', '3'],
      ['events', '--socket', '/nowhere'],
    ]) {
      const { code, err } = await run(runtimeFolder(), ...words)
      assert.equal(code, 3, words[0])
      assert.match(err, /no server answers: no `express-van serve` of this user runs there/)
    }
  })

  const json = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n'
  const lines = json.replace('json', 'x-ndjson')
  const strangers: [what: string, answer: string, says: RegExp][] = [
    ['is no HTTP', 'SSH-2.0-OpenSSH_9.6\r\n', /what listens there is not express-van/],
    ['is no JSON', `${json}\r\nhello`, /what listens there is not express-van/],
    ['is JSON of another', `${json}\r\n{"message":"hello"}`, /what listens there is not express-van/],
    ['is null', `${json}\r\nnull`, /what listens there is not express-van/],
    [
      'is an error of another',
      `${json.replace('200 OK', '502 Bad Gateway')}\r\n{}`,
      /what listens there is not express-van/,
    ],
    ['is nothing', '', /the connection broke off/],
    ['breaks off', `${lines}Content-Length: 200\r\n\r\n{"vhosts":`, /the connection broke off/],
  ]
  for (const [what, answer, says] of strangers) {
    it(`ends with 3 if what answers ${what}`, async () => {
      const runtime = runtimeFolder()
      const socket = join(runtime, 'control.sock')
      const server = createServer(connection => {
        connection.once('data', () => connection.end(answer)).on('error', () => {})
      }).listen(socket)
      await once(server, 'listening')
      for (const words of [['status'], ['why', 'a.test'], ['reload', 'a.test'], ['events']]) {
        const { code, out, err } = await run(runtime, ...words, '--socket', socket)
        assert.deepEqual([code, out], [3, ''], words[0])
        assert.match(err, /^express-van: no server answers: /)
        assert.match(err, says)
      }
      server.close()
    })
  }

  it('ends with 1 and the reason if the server refuses', async () => {
    const runtime = runtimeFolder()
    const socket = join(runtime, 'control.sock')
    const server = http
      .createServer((_req, res) => {
        res.writeHead(500, { 'Content-Type': 'application/json' }).end('{"message":"it ends"}')
      })
      .listen(socket)
    await once(server, 'listening')
    for (const words of [['status'], ['why', 'a.test'], ['reload', 'a.test']]) {
      const { code, err } = await run(runtime, ...words, '--socket', socket)
      assert.equal(code, 1)
      assert.match(err, /^express-van: (a\.test: )?it ends\n$/)
    }
    server.close()
  })

  it('why --base-path asks the disk and no server', async () => {
    await using world = new World()
    world.site('.any.test/current', 'any')
    const place = ['--base-path', world.path(), '--vhost-dir', '%0', '--vhost-dir', '.any.%2+/current']
    const found = await run(runtimeFolder(), 'why', 'A.test:80', '--json', ...place)
    assert.equal(found.code, 0)
    const { hostname, vhostPath, outcome } = JSON.parse(found.out) as Record<string, unknown>
    assert.deepEqual([hostname, vhostPath, outcome], ['a.test', world.path('.any.test/current'), 'app'])
    const refused = await run(runtimeFolder(), 'why', 'a..b', ...place)
    assert.equal(refused.code, 1)
    assert.match(refused.out, /^error +ERR_VHOST_HOST: .*a label is empty$/m)
  })
})

describe('express-van serve', { concurrency: 4 }, () => {
  it('serves apps and files, and answers the other commands', async () => {
    await using site = await Site.start()
    site.world.site('aries.test', 'aries')
    site.world.write('aries.test/static/style.css', 'css')
    site.world.link('www.aries.test', 'aries.test')
    assert.deepEqual(await site.get('aries.test'), [200, 'aries'])
    assert.deepEqual(await site.get('www.aries.test', '/style.css'), [200, 'css'])
    assert.deepEqual(await site.get('www.aries.test'), [200, 'aries'])
    assert.deepEqual(await site.get('nobody.test'), [404, 'Not Found\n'])
    assert.deepEqual(await site.get('a..b'), [400, 'Bad Request\n'])

    const table = await site.run('status')
    assert.equal(table.code, 0)
    assert.match(table.out, /^HOST +STATE +SINCE +RELEASE +REQUESTS/)
    assert.match(table.out, /^aries\.test \+1 +serving +< 1 min +\S+aries\.test +2 +0 +0 +\d+ ms/m)
    assert.match(table.out, /^1 app, 0 draining, 0 failed, 2 hostnames, 2 requests$/m)
    const { vhosts } = JSON.parse((await site.run('status', '--json')).out)
    assert.deepEqual(vhosts[0].hostnames, ['aries.test', 'www.aries.test'])

    site.world.write('bad.test/app/index.js', 'throw new Error("boom")')
    assert.equal((await site.get('bad.test'))[0], 500)
    const worst = await site.run('status')
    assert.equal(worst.code, 1)
    assert.match(
      worst.out,
      /^HOST.*\nbad\.test +failed +< 1 min .*\naries\.test \+1 +serving .*\nbad\.test: .*: Error: boom, at \S+bad\.test\/app\/index\.js:1$/m,
    )

    assert.match(site.err, /Error: boom, at \S+bad\.test\/app\/index\.js:1 \(nothing serves\)\n/)

    site.world.write(
      'factory.test/app/index.js',
      `module.exports = () => require('node:http').createServer()`,
    )
    assert.equal((await site.get('factory.test'))[0], 500)
    await eventually(() =>
      assert.match(site.err, /^factory\.test: .* its export gives the app when it is called/m),
    )

    site.world.write('empty.test/app/index.js', '')
    await site.get('empty.test')
    assert.match(
      (await site.run('status')).out,
      /^empty\.test: The app cannot be loaded: its entry module is empty$/m,
    )
    const refused = await site.run('reload', 'empty.test')
    assert.deepEqual(
      [refused.code, refused.err],
      [1, 'express-van: empty.test: The app cannot be loaded: its entry module is empty\n'],
    )

    const why = await site.run('why', 'www.aries.test')
    assert.equal(why.code, 0)
    assert.match(why.out, /^state +serving$/m)
    assert.equal((await site.run('why', 'nobody.test')).code, 1)

    const reloaded = await site.run('reload', 'aries.test')
    assert.equal(reloaded.code, 0)
    assert.match(reloaded.out, /^reloaded aries\.test in \d+ ms$/m)
    const nobody = await site.run('reload', 'nobody.test')
    assert.deepEqual([nobody.code, nobody.out], [2, ''])
    assert.match(nobody.err, /nobody\.test: there is no vhost\n/)
    await eventually(() => assert.match(site.out, /reload aries\.test www\.aries\.test/))
  })

  it('tells a wrong host apart from a refused release at a reload', async () => {
    await using site = await Site.start()
    site.world.write('aries.test/app/index.js', 'throw new Error("boom")')
    site.world.write('leo.test/static/index.html', '')
    const of = async (host: string): Promise<unknown[]> => {
      const { code, out } = await site.run('reload', host, '--json')
      const body = JSON.parse(out)
      return [code, body.code, body.outcome, body.message]
    }
    const cannot = 'aries.test: The app cannot be loaded'
    assert.deepEqual(await of('aries.test'), [1, 'ERR_VHOST_LOAD', undefined, cannot])
    const meant = "there is no vhost; did you mean 'aries.test'?"
    assert.deepEqual(await of('arise.test'), [2, undefined, 'no vhost', meant])
    const lacks = "there is no app; there is no folder 'app' in it"
    assert.deepEqual(await of('leo.test'), [2, undefined, 'no app', lacks])
    assert.deepEqual((await of('a..b')).slice(0, 2), [2, 'ERR_VHOST_HOST'])
  })

  it('serves isolated apps, with their environment, output and figures', async () => {
    await using site = await Site.start([
      ...['--isolation', 'process', '--env', 'GREETING=a=b', '--env', 'OTHER=', '--request-timeout', '2000'],
    ])
    site.world.write(
      'aries.test/app/index.js',
      `console.log('hello from ' + process.env.GREETING)
       module.exports = (req, res) => {
         if (req.url === '/') res.end(process.env.GREETING + process.env.OTHER)
         if (req.url === '/exit') process.exit(7)
       }`,
    )
    assert.deepEqual(await site.get('aries.test'), [200, 'a=b'])
    assert.deepEqual(await site.get('aries.test', '/never'), [504, 'Gateway Timeout\n'])
    await eventually(() => assert.match(site.out, /^aries\.test \| hello from a=b$/m))
    assert.match((await site.run('status')).out, /^aries\.test +serving .* \d+ MiB +\d+ s +0 +process$/m)
    await site.get('aries.test', '/exit')
    await eventually(async () => assert.deepEqual(await site.get('aries.test'), [200, 'a=b']))
    const { out } = await site.run('status')
    assert.match(out, /^aries\.test +serving .* \d+ MiB +\d+ s +[12] +process$/m)
    assert.match(out, /^aries\.test: \d{4}-\S+Z: The app crashed: it ended with code 7$/m)
  })

  it('shows on a terminal how long a reload has taken so far, and fits its table to the width', {
    skip: existsSync('/usr/bin/script') ? false : 'needs script of util-linux, which makes a terminal',
  }, async () => {
    await using site = await Site.start()
    const go = site.world.path('go')
    site.world.write('go', '')
    site.world.write(
      'aries.test/app/index.js',
      `module.exports = new Promise(resolve => {
        const timer = setInterval(() => {
          if (!require('node:fs').existsSync(${JSON.stringify(go)})) return
          clearInterval(timer)
          resolve((req, res) => res.end('aries'))
        }, 5)
      })`,
    )
    await site.get('aries.test')
    rmSync(go)
    const reload = site.terminal(80, 'reload', 'aries.test')
    await eventually(() => assert.match(reload.out, /\rreloading aries\.test … 1 s$/))
    site.world.write('go', '')
    const { code, out } = await reload.ended
    assert.equal(code, 0)
    assert.match(out.split('\u001b[K')[1] ?? '', /^reloaded aries\.test in \d+ ms\r\n$/)
    const table = await site.terminal(80, 'status').ended
    assert.match(table.out, /^HOST +STATE +SINCE +RELEASE +REQUESTS +ERRORS\r\n/)
    for (const words of [['status'], ['--help'], ['serve', '--help']]) {
      const shown = await site.terminal(72, ...words).ended
      for (const line of shown.out.split('\r\n')) assert.ok(line.length <= 72, line)
    }
  })

  it('shows events as they come, and what was refused', async () => {
    await using site = await Site.start()
    const lines = site.start('events', '--json')
    const people = site.start('events')
    site.world.site('aries.test', 'aries')
    await eventually(async () => {
      await site.get('aries.test')
      await site.run('reload', 'aries.test')
      return lines.out !== '' && people.out !== ''
    })
    // An app may throw anything; a terminal must not obey it.
    site.world.write('aries.test/app/index.js', 'throw new Error("\\u001b[2Jwiped\\u202e")')
    await eventually(() => assert.match(lines.out, /"event":"error"/))
    const events = lines.out
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    const error = events.find(({ event }) => event === 'error')
    assert.deepEqual(error.hostnames, ['aries.test'])
    assert.match(error.error.cause, /wiped/)
    await eventually(() =>
      assert.match(people.out, /error +aries\.test .*\\u\{1b\}\[2Jwiped\\u\{202e\}.*serves on/),
    )
    const status = await site.run('status')
    assert.equal(status.code, 1)
    assert.match(status.out, /^aries\.test +serving older/m)
    assert.match(status.out, /^aries\.test: .*wiped/m)
    await eventually(() => assert.match(site.err, /wiped/))
    for (const shown of [people.out, status.out, site.err]) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
      assert.doesNotMatch(shown, /\u001b|\u202e/)
    }
  })

  it('prints each event on one line, whatever it contains', async () => {
    await using site = await Site.start()
    const people = site.start('events')
    site.world.site('aries.test', 'aries')
    await eventually(async () => {
      await site.get('aries.test')
      await site.run('reload', 'aries.test')
      return people.out !== ''
    })
    // JSON may contain U+2028, which node:readline takes for the end of a line.
    site.world.write('aries.test/app/index.js', 'throw new Error("one\\u2028two")')
    await eventually(() => assert.match(people.out, /error +aries\.test .*one.*two.*serves on/))
  })

  it('ends cleanly for those who watch its events, after the last event', async () => {
    for (const signals of [['SIGTERM'], ['SIGINT', 'SIGINT']] as const) {
      await using site = await Site.start()
      const people = site.start('events')
      site.world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res) => req.url === '/' ? res.end('aries') : res.write('begun')`,
      )
      await eventually(async () => {
        await site.get('aries.test')
        await site.run('reload', 'aries.test')
        assert.match(people.out, /reload +aries\.test/)
      })
      const held = signals.length > 1 && site.get('aries.test', '/held').catch(() => 'cut')
      if (held) {
        await eventually(async () =>
          /"inFlight":1/.test((await site.run('status', '--json')).out.replaceAll(' ', '')),
        )
      }
      for (const signal of signals) {
        site.child.kill(signal)
        await eventually(() => assert.match(site.out, /ending/))
      }
      const { code, out, err } = await people.ended
      assert.deepEqual([code, err], [0, ''])
      if (!held) assert.match(out, /evict +aries\.test +closed {2}.*\n$/)
      await held
    }
  })

  it('says how many requests were cut because they did not end', async () => {
    await using site = await Site.start(['--drain-timeout', '50'])
    site.world.write('aries.test/app/index.js', `module.exports = (req, res) => res.write('begun')`)
    const held = assert.rejects(site.get('aries.test'))
    await eventually(() => assert.match(site.out, /load +aries\.test/))
    await eventually(async () => (await site.run('status', '--json')).out.includes('"inFlight": 1'))
    await site.run('reload', 'aries.test')
    await held
    await eventually(() => assert.match(site.out, /evict +aries\.test +reloaded, requests cut: 1 {2}/))
  })

  it('ends on a signal when what is in flight has ended', async () => {
    await using site = await Site.start()
    site.world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res) => { res.write('begun '); process.once('SIGTERM', () => setTimeout(() => res.end('ended'), 50)) }`,
    )
    // As apps of NestJS and Apollo do.
    site.world.write(
      'leo.test/app/index.js',
      `process.once('SIGTERM', () => setTimeout(() => process.kill(process.pid, 'SIGTERM'), 10)); module.exports = (req, res) => res.end('leo')`,
    )
    assert.deepEqual(await site.get('leo.test'), [200, 'leo'])
    const answer = site.get('aries.test')
    await eventually(async () =>
      /"inFlight":1/.test((await site.run('status', '--json')).out.replaceAll(' ', '')),
    )
    site.child.kill('SIGTERM')
    assert.deepEqual(await answer, [200, 'begun ended'])
    assert.equal((await site.ended).code, 0)
    assert.match(site.out, /evict +aries\.test +closed/)
    assert.deepEqual(readdirSync(join(site.runtime, `express-van-${process.getuid?.()}`)), [])
  })

  it('ends although apps have left things running, and although nobody reads its output', {
    timeout: 60_000,
  }, async () => {
    await using site = await Site.start()
    site.world.write(
      'aries.test/app/index.js',
      `setInterval(() => {}, 1000)
       module.exports = (req, res) => { console.log('x'.repeat(1e6)); res.end('aries') }`,
    )
    site.child.stdout?.pause()
    assert.deepEqual(await site.get('aries.test'), [200, 'aries'])
    site.child.kill('SIGTERM')
    const [code] = await once(site.child, 'exit')
    assert.equal(code, 0)
    site.child.stdout?.resume()
  })

  for (const [who, path] of [
    ['an app', '/'],
    ['static()', '/large'],
  ] as const) {
    it(`ends once what ${who} has answered has been read`, async () => {
      await using site = await Site.start()
      const length = 32 * 2 ** 20
      site.world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res) => res.end(Buffer.alloc(${length}))`,
      )
      site.world.write('aries.test/static/large', 'x'.repeat(length))
      const answer = await site.answer('aries.test', path)
      site.child.kill('SIGTERM')
      await eventually(() => assert.match(site.out, /ending/))
      assert.equal((await text(answer)).length, length)
      assert.equal((await site.ended).code, 0)
    })
  }

  it('also answers requests whose app is still loading when it is told to end', async () => {
    await using site = await Site.start()
    const go = site.world.path('go')
    site.world.write(
      'aries.test/app/index.mjs',
      `import { existsSync } from 'node:fs'
       import { setTimeout } from 'node:timers/promises'
       while (!existsSync(${JSON.stringify(go)})) await setTimeout(5)
       export default (req, res) => res.end('aries')`,
    )
    const asked = site.get('aries.test')
    await eventually(async () => assert.match((await site.run('status')).out, /^aries\.test +loading/m))
    site.child.kill('SIGTERM')
    await eventually(() => assert.match(site.out, /ending/))
    site.world.write('go', '')
    assert.deepEqual(await asked, [200, 'aries'])
    assert.equal((await site.ended).code, 0)
  })

  it('keeps connections open for longer than the proxies in front of it do', async () => {
    await using site = await Site.start()
    site.world.site('aries.test', 'aries')
    const agent = new http.Agent({ keepAlive: true })
    const answer = await site.answer('aries.test', '/', agent)
    assert.equal(await text(answer), 'aries')
    assert.equal(answer.headers['keep-alive'], 'timeout=75')
    agent.destroy()
  })

  it('tells clients that would send more requests to go elsewhere, once it is to end', async () => {
    await using site = await Site.start()
    site.world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res) => {
        if (req.url === '/now') return res.end()
        if (req.url === '/begun') res.write('begun ')
        const timer = setInterval(() => {
          if (!require('node:fs').existsSync(${JSON.stringify(site.world.path('go'))})) return
          clearInterval(timer)
          res.end('ended')
        }, 5)
      }`,
    )
    const agents = Array.from({ length: 3 }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }))
    const [idle, waiting, begun] = agents as [http.Agent, http.Agent, http.Agent]
    await text(await site.answer('aries.test', '/now', idle))
    const waited = site.answer('aries.test', '/', waiting)
    const answer = await site.answer('aries.test', '/begun', begun)
    const [socket] = Object.values(idle.freeSockets).flat()
    const isClosed = once(socket as Socket, 'close')
    const isLeft = once(answer.socket, 'close')
    await eventually(async () =>
      /"inFlight":2/.test((await site.run('status', '--json')).out.replaceAll(' ', '')),
    )
    site.child.kill('SIGTERM')
    await isClosed
    site.world.write('go', '')
    assert.equal((await waited).headers.connection, 'close')
    assert.equal(await text(await waited), 'ended')
    assert.equal(answer.headers.connection, 'keep-alive')
    assert.equal(await text(answer), 'begun ended')
    await isLeft
    assert.equal((await site.ended).code, 0)
    for (const agent of agents) agent.destroy()
  })

  it('goes on serving when nobody reads its output any more', async () => {
    await using site = await Site.start()
    site.child.stdout?.destroy()
    site.child.stderr?.destroy()
    site.world.site('aries.test', 'aries')
    site.world.write('bad.test/app/index.js', 'throw new Error("boom")')
    for (let time = 0; time < 3; time++) {
      assert.deepEqual(await site.get('aries.test'), [200, 'aries'])
      assert.equal((await site.get('bad.test'))[0], 500)
      assert.equal((await site.run('reload', 'aries.test')).code, 0)
      assert.equal((await site.run('reload', 'bad.test')).code, 1)
    }
    site.child.kill('SIGTERM')
    assert.equal((await site.ended).code, 0)
  })

  it('goes on serving when the disk is too full for its output', {
    skip: existsSync('/dev/full') ? false : 'needs /dev/full',
  }, async t => {
    await using world = new World()
    world.site('aries.test', 'aries')
    const runtime = runtimeFolder()
    const socket = join(runtime, 'control.sock')
    const before = ['sh', '-c', 'exec "$@" >/dev/full 2>&1', 'sh', process.execPath, PROGRAM]
    const words = ['serve', world.path(), '--port', '0', '--socket', socket]
    const { child, ended } = new Program(runtime, words, { before })
    t.after(() => child.kill('SIGKILL'))
    await eventually(() => existsSync(socket))
    for (let time = 0; time < 3; time++) {
      assert.equal((await run(runtime, 'reload', 'aries.test', '--socket', socket)).code, 0)
    }
    child.kill('SIGTERM')
    assert.equal((await ended).code, 0)
  })

  it('ends with 1 if the disk is too full for the output of a command', {
    skip: existsSync('/dev/full') ? false : 'needs /dev/full',
  }, async () => {
    await using site = await Site.start()
    site.world.site('aries.test', 'aries')
    const before = ['sh', '-c', 'exec "$@" >/dev/full', 'sh', process.execPath, PROGRAM]
    const port = ['--port', String(site.port)]
    const commands = [['status', ...port], ['why', 'aries.test', ...port], ['events', ...port], ['--help']]
    const programs = commands.map(words => new Program(site.runtime, words, { before }))
    const ended = Promise.all(programs.map(program => program.ended))
    let isEnded = false
    void ended.finally(() => {
      isEnded = true
    })
    await eventually(async () => {
      await site.run('reload', 'aries.test')
      return isEnded
    })
    for (const { code, err } of await ended) {
      assert.equal(code, 1)
      assert.match(err, /^express-van: its output is lost: ENOSPC/)
    }
  })

  it('leaves port and control socket to its successor while it waits for what is in flight', async () => {
    await using first = await Site.start()
    first.world.write('aries.test/app/index.js', held(first.world.path('go')))
    const answer = first.get('aries.test')
    await eventually(async () =>
      /"inFlight":1/.test((await first.run('status', '--json')).out.replaceAll(' ', '')),
    )
    first.child.kill('SIGTERM')
    await eventually(() => assert.match(first.out, /ending/))
    await using second = await Site.start(['--port', String(first.port)], first.runtime)
    second.world.site('leo.test', 'leo')
    assert.deepEqual(await second.get('leo.test'), [200, 'leo'])
    assert.match((await second.run('status')).out, /^leo\.test /m)
    first.world.write('go', '')
    assert.deepEqual(await answer, [200, 'begun ended'])
    assert.equal((await first.ended).code, 0)
    assert.match((await second.run('status')).out, /^leo\.test /m)
    assert.equal(second.err, '')
  })

  it('removes its control socket even if an app ends the process', async () => {
    await using site = await Site.start()
    site.world.write('aries.test/app/index.js', 'module.exports = () => process.exit(7)')
    await assert.rejects(site.get('aries.test'))
    assert.equal((await site.ended).code, 7)
    assert.deepEqual(readdirSync(join(site.runtime, `express-van-${process.getuid?.()}`)), [])
  })

  it('ends at once on a second signal', async () => {
    await using site = await Site.start()
    site.world.write('aries.test/app/index.js', `module.exports = (req, res) => { res.write('begun') }`)
    const answer = site.get('aries.test').catch(() => 'cut')
    await eventually(async () =>
      /"inFlight":1/.test((await site.run('status', '--json')).out.replaceAll(' ', '')),
    )
    site.child.kill('SIGINT')
    await eventually(() => assert.match(site.out, /ending/))
    site.child.kill('SIGINT')
    assert.equal((await site.ended).code, 1)
    assert.equal(await answer, 'cut')
    assert.deepEqual(readdirSync(join(site.runtime, `express-van-${process.getuid?.()}`)), [])
  })

  it('ends just as patiently when its terminal is closed, although that sends the signal more than once', async () => {
    await using site = await Site.start()
    site.world.write('aries.test/app/index.js', held(site.world.path('go')))
    const answer = await site.answer('aries.test', '/')
    site.child.kill('SIGHUP')
    await eventually(() => assert.match(site.out, /ending/))
    site.child.kill('SIGHUP')
    site.world.write('go', '')
    assert.equal(await text(answer), 'begun ended')
    assert.equal((await site.ended).code, 0)
    assert.deepEqual(readdirSync(join(site.runtime, `express-van-${process.getuid?.()}`)), [])
  })

  it('logs the error of an app as one entry, whatever its message', async () => {
    await using site = await Site.start([])
    site.world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res, next) => next(new Error('one\\nleo.test: two\\n\\x1b[2J'))`,
    )
    await site.get('aries.test')
    await eventually(() =>
      assert.match(site.err, /^aries\.test: Error: one\n {2}leo\.test: two\n {2}\\u\{1b\}\[2J\n {6}at /m),
    )
  })

  it('tells clients what went wrong only with --watch-tree', async () => {
    for (const [flags, wanted] of [
      [[], /^Internal Server Error\n$/],
      [['--watch-tree'], /^Error: boom\n +at .*index\.js:1:/m],
    ] as const) {
      await using site = await Site.start([...flags])
      site.world.write('aries.test/app/index.js', `throw new Error('boom')`)
      const [status, body] = await site.get('aries.test')
      assert.equal(status, 500)
      assert.match(String(body), wanted)
    }
  })

  it('shows operators a status page and metrics, and shows no app their password', async () => {
    const password = 'k\u00f6rper: 1'
    const authorization = (user: string, word: string): http.OutgoingHttpHeaders => ({
      authorization: `basic ${Buffer.from(`${user}:${word}`).toString('base64')}`,
    })
    await using site = await Site.start(['--status-host', 'status.test'], runtimeFolder(), {
      EXPRESS_VAN_STATUS_PASSWORD: password,
    })
    site.world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res) => res.end(JSON.stringify(process.env))`,
    )
    site.world.site('status.test', 'a tenant')
    for (const headers of [{}, authorization('operator', 'k'), authorization('root', password)]) {
      assert.deepEqual(await site.get('status.test', '/', headers), [401, 'Unauthorized\n'])
    }
    const [status, environment] = await site.get('aries.test')
    assert.equal(status, 200)
    assert.doesNotMatch(environment, /k\u00f6rper|STATUS_PASSWORD/)
    const [, page] = await site.get('status.test', '/', authorization('operator', password))
    assert.match(page, /<title>express-van<\/title>/)
    const [, metrics] = await site.get('status.test', '/metrics', authorization('operator', password))
    assert.match(metrics, /^express_van_requests_total\{hostname="aries\.test"\} 1$/m)
  })

  it('does not wait for an open status page when it is to end', async () => {
    await using site = await Site.start(['--status-host', 'status.test'], runtimeFolder(), {
      EXPRESS_VAN_STATUS_PASSWORD: 'word',
    })
    const authorization = `Basic ${Buffer.from('operator:word').toString('base64')}`
    const headers = { host: 'status.test', authorization }
    const [page] = (await once(
      http.get({ port: site.port, host: '127.0.0.1', path: '/events', headers, agent: false }),
      'response',
    )) as [http.IncomingMessage]
    page.resume()
    site.child.kill('SIGTERM')
    await once(page, 'end')
    assert.equal((await site.ended).code, 0)
  })

  it('hides the password from apps even if there is no status page', async () => {
    await using site = await Site.start([], runtimeFolder(), { EXPRESS_VAN_STATUS_PASSWORD: 'a secret' })
    site.world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res) => res.end(JSON.stringify(process.env))`,
    )
    const [status, environment] = await site.get('aries.test')
    assert.equal(status, 200)
    assert.doesNotMatch(environment, /a secret|STATUS_PASSWORD/)
  })

  it('wants a hostname for its status page', async () => {
    const variables = { EXPRESS_VAN_STATUS_PASSWORD: 'word' }
    const words = ['serve', '.', '--status-host', 'a..b']
    const { code, err } = await new Program(runtimeFolder(), words, { variables }).ended
    assert.equal(code, 2)
    assert.match(err, /--status-host must be a hostname, not "a\.\.b": a label is empty/)
  })

  it('keeps its control socket from others', async () => {
    await using site = await Site.start()
    const folder = join(site.runtime, `express-van-${process.getuid?.()}`)
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    assert.equal(statSync(join(folder, `${site.port}.sock`)).mode & 0o777, 0o600)
  })

  it('serves without a control socket if others may enter its folder', async () => {
    const runtime = runtimeFolder()
    const folder = join(runtime, `express-van-${process.getuid?.()}`)
    mkdirSync(folder)
    chmodSync(folder, 0o755)
    await using site = await Site.start([], runtime)
    await eventually(() => assert.match(site.err, /no control socket: .*other users can enter/))
    assert.equal((await site.run('status')).code, 3)
    site.world.site('aries.test', 'aries')
    assert.deepEqual(await site.get('aries.test'), [200, 'aries'])
  })

  it('asks no server in a folder that others may enter', async () => {
    const runtime = runtimeFolder()
    const folder = join(runtime, `express-van-${process.getuid?.()}`)
    mkdirSync(folder, { mode: 0o700 })
    const asked: string[] = []
    const server = http.createServer((req, res) => {
      asked.push(`${req.method} ${req.url}`)
      res.end('{"realPath":"/"}')
    })
    server.listen(join(folder, '3000.sock'))
    await once(server, 'listening')
    chmodSync(folder, 0o755)
    for (const words of [['status'], ['why', 'aries.test'], ['reload', 'aries.test'], ['events']]) {
      const { code, err } = await run(runtime, ...words)
      assert.equal(code, 3)
      assert.match(err, /other users can enter/)
    }
    assert.deepEqual(asked, [])
    chmodSync(folder, 0o700)
    assert.equal((await run(runtime, 'reload', 'aries.test')).code, 0)
    assert.deepEqual(asked, ['POST /reload?host=aries.test'])
    server.close()
  })

  it('finds a server whose environment has no folder for the sockets of a login session, as for a service', async () => {
    const TMPDIR = runtimeFolder()
    await using site = await Site.start([], runtimeFolder(), { XDG_RUNTIME_DIR: '', TMPDIR })
    site.world.site('aries.test', 'aries')
    await site.get('aries.test')
    const words = ['status', '--port', String(site.port)]
    for (const variables of [{ TMPDIR }, { TMPDIR, XDG_RUNTIME_DIR: '' }]) {
      const { code, out, err } = await new Program(runtimeFolder(), words, { variables }).ended
      assert.deepEqual([code, err], [0, ''])
      assert.match(out, /aries\.test/)
    }
  })

  it('finds a server although a killed one has left its socket in the folder searched first', async () => {
    const TMPDIR = runtimeFolder()
    await using site = await Site.start([], runtimeFolder(), { XDG_RUNTIME_DIR: '', TMPDIR })
    const runtime = runtimeFolder()
    await using killed = await Site.start([], runtime)
    killed.child.kill('SIGKILL')
    await killed.ended
    const folder = join(runtime, `express-van-${process.getuid?.()}`)
    renameSync(join(folder, `${killed.port}.sock`), join(folder, `${site.port}.sock`))
    const words = ['status', '--port', String(site.port)]
    const { code, err } = await new Program(runtime, words, { variables: { TMPDIR } }).ended
    assert.deepEqual([code, err], [0, ''])
  })

  it('replaces a control socket that was left behind, but not one that answers', async () => {
    const runtime = runtimeFolder()
    const socket = join(runtime, 'control.sock')
    await using first = await Site.start(['--socket', socket], runtime)
    await using second = await Site.start(['--socket', socket], runtime)
    await eventually(() => assert.match(second.err, /another server or another user already has/))
    first.child.kill('SIGKILL')
    await first.ended
    assert.ok(existsSync(socket))
    await using third = await Site.start(['--socket', socket], runtime)
    third.world.site('third.test', 'third')
    await third.get('third.test')
    assert.match((await run(runtime, 'status', '--socket', socket)).out, /third\.test/)
  })

  it('ends with 1 if its port is taken', async () => {
    const taken = createServer().listen(0)
    await new Promise(resolve => taken.once('listening', resolve))
    const { port } = taken.address() as AddressInfo
    const { code, err } = await run(runtimeFolder(), 'serve', '.', '--port', String(port))
    taken.close()
    assert.equal(code, 1)
    assert.match(err, new RegExp(`port ${port} is taken`))
  })

  it('ends with 1 if its host is no address of this machine', async () => {
    // An address reserved for documentation.
    const { code, err } = await run(runtimeFolder(), 'serve', '.', '--port', '0', '--host', '198.51.100.7')
    assert.equal(code, 1)
    assert.match(err, /^express-van: --host is not an address of this machine: .*EADDRNOTAVAIL/)
  })

  it('passes the options on', async () => {
    await using site = await Site.start([
      '--app-dir',
      '.',
      '--export-name',
      'createApp()',
      '--no-static',
      '--watch-tree',
    ])
    site.world.write(
      'aries.test/index.js',
      `exports.createApp = () => (req, res) => res.end(require('./lib/part'))`,
    )
    site.world.write('aries.test/lib/part.js', `module.exports = 'one'`)
    site.world.write('aries.test/static/style.css', 'css')
    assert.deepEqual(await site.get('aries.test', '/style.css'), [200, 'one'])
    site.world.write('aries.test/lib/part.js', `module.exports = 'two'`)
    await eventually(async () => assert.deepEqual(await site.get('aries.test'), [200, 'two']))
  })

  it("writes an app's own error to its log, and tells the client nothing of it", async () => {
    await using site = await Site.start()
    site.world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res, next) => next(new Error('secret'))`,
    )
    assert.deepEqual(await site.get('aries.test'), [500, 'Internal Server Error\n'])
    await eventually(() => assert.match(site.err, /aries\.test: Error: secret\n +at /))
  })

  it('logs the causes of an error, too, even if it is its own cause', async () => {
    await using site = await Site.start()
    site.world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res, next) => {
        const cause = new Error('no connection')
        cause.cause = cause
        next(new Error('no orders', { cause }))
      }`,
    )
    assert.equal((await site.get('aries.test'))[0], 500)
    await eventually(() =>
      assert.match(site.err, /: Error: no orders\n +at .*\n +cause: Error: no connection\n +at /s),
    )
  })

  it('answers 404 for what an app leaves unanswered, without the headers that the app set for its content', async () => {
    await using site = await Site.start()
    site.world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res, next) => {
         res.setHeader('Content-Length', 3).setHeader('Content-Encoding', 'gzip').setHeader('ETag', '"1"')
         next()
       }`,
    )
    assert.deepEqual(await site.get('aries.test'), [404, 'Not Found\n'])
    const { headers } = (await site.answer('aries.test', '/')).resume()
    assert.equal(headers['content-encoding'] ?? headers.etag, undefined)
    assert.deepEqual(await site.get('nobody.test'), [404, 'Not Found\n'])
  })

  it('names no place in an app if the disk fails before there is one', async () => {
    const failing = `import fs from 'node:fs/promises'
      import { syncBuiltinESMExports } from 'node:module'
      fs.readdir = async () => { throw Object.assign(new Error('i/o error'), { code: 'EIO' }) }
      syncBuiltinESMExports()`
    await using site = await Site.start([], runtimeFolder(), {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(failing)}`,
    })
    site.world.site('aries.test', 'aries')
    assert.equal((await site.get('aries.test'))[0], 500)
    await eventually(() => assert.match(site.err, /cannot be read: Error: i\/o error \(nothing serves\)\n$/))
  })
})

/** The program, serving a folder of vhosts on a free port. */
class Site {
  readonly world = new World()
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  readonly runtime: string
  port = 0
  out = ''
  err = ''
  readonly #others: Program[] = []

  private constructor(words: string[], runtime: string, variables: Variables) {
    this.runtime = runtime
    const program = new Program(
      runtime,
      ['serve', this.world.path(), '--port', '0', '--host', '127.0.0.1', ...words],
      { variables },
    )
    this.child = program.child
    this.ended = program.ended
    program.child.stdout?.on('data', () => {
      this.out = program.out
    })
    program.child.stderr?.on('data', () => {
      this.err = program.err
    })
  }

  static async start(
    words: string[] = [],
    runtime: string = runtimeFolder(),
    variables: Variables = {},
  ): Promise<Site> {
    const site = new Site(words, runtime, variables)
    await eventually(() => assert.match(site.out, /serving .* at http:/))
    site.port = Number(/:(\d+)\/\n/.exec(site.out)?.[1])
    return site
  }

  run(...words: string[]): Promise<Ended> {
    return run(this.runtime, ...words, '--port', String(this.port))
  }

  /** Another command, left running. */
  start(...words: string[]): Program {
    const program = new Program(this.runtime, [...words, '--port', String(this.port)])
    this.#others.push(program)
    return program
  }

  /** Another command, in a terminal of this width. */
  terminal(columns: number, ...words: string[]): Program {
    const command = [process.execPath, PROGRAM, ...words]
    if (!words.includes('--help')) command.push('--port', String(this.port))
    const program = new Program(this.runtime, [], {
      before: [
        ...['script', '-qec', `stty cols ${columns} && exec ${command.map(word => `'${word}'`).join(' ')}`],
        '/dev/null',
      ],
    })
    this.#others.push(program)
    return program
  }

  async get(
    host: string,
    path = '/',
    headers: http.OutgoingHttpHeaders = {},
  ): Promise<[status: number | undefined, body: string]> {
    const options = { port: this.port, host: '127.0.0.1', path, headers: { ...headers, host }, agent: false }
    return await new Promise((resolve, reject) => {
      http
        .get(options, response => {
          text(response).then(body => resolve([response.statusCode, body]), reject)
        })
        .on('error', reject)
    })
  }

  /** An answer of which nothing has been read yet. */
  async answer(host: string, path: string, agent?: http.Agent): Promise<http.IncomingMessage> {
    const options = { port: this.port, host: '127.0.0.1', path, headers: { host }, agent }
    return await new Promise((resolve, reject) => {
      http.get(options, resolve).on('error', reject)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child } of this.#others) child.kill('SIGKILL')
    this.child.kill('SIGKILL')
    await this.ended
    await this.world[Symbol.asyncDispose]()
  }
}

class Program {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  out = ''
  err = ''

  constructor(
    runtime: string,
    words: string[],
    {
      before = [process.execPath, PROGRAM],
      variables = {},
    }: { before?: readonly string[]; variables?: Variables } = {},
  ) {
    const env = { ...process.env, XDG_RUNTIME_DIR: runtime, NODE_DEBUG: '', ...variables }
    this.child = spawn(before[0] as string, [...before.slice(1), ...words], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout?.setEncoding('utf8').on('data', chunk => {
      this.out += chunk
    })
    this.child.stderr?.setEncoding('utf8').on('data', chunk => {
      this.err += chunk
    })
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject)
      this.child.once('close', code => resolve({ code, out: this.out, err: this.err }))
    })
  }
}

function run(runtime: string, ...words: string[]): Promise<Ended> {
  return new Program(runtime, words).ended
}

/** A folder with a path as short as possible: the path of a socket in it is limited. */
function runtimeFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'van-')))
  folders.push(folder)
  return folder
}

const folders: string[] = []
process.once('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** The source of an app that begins its answer, and ends it once a file exists. */
function held(go: string): string {
  return `module.exports = (req, res) => {
    res.write('begun ')
    const timer = setInterval(() => {
      if (!require('node:fs').existsSync(${JSON.stringify(go)})) return
      clearInterval(timer)
      res.end('ended')
    }, 5)
  }`
}
