import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type ErrorPageOptions, errorPage } from '../lib/error-page.ts'
import type { Isolation } from '../lib/options.ts'
import { World } from './support/world.ts'

const BROWSER = { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } }

describe('errorPage()', () => {
  it('shows a browser what an app threw, where, and the code there', async () => {
    await using world = await start({ show: true })
    world.write('aries.test/app/index.js', `const answer = 41\nthrow new Error('boom of aries')\n`)
    const { status, headers, body } = await world.get('aries.test', '/', BROWSER)
    assert.equal(status, 500)
    assert.equal(headers['content-type'], 'text/html; charset=utf-8')
    for (const text of ['boom of aries', 'index.js', 'const answer = 41'])
      assert.ok(textOf(body).includes(text), text)
  })

  it('shows the file of a syntax error, in CommonJS and in an ES module', async () => {
    await using world = await start({ show: true })
    world.write('aries.test/app/index.js', `const first = 1\nconst = 2\n`)
    const { body } = await world.get('aries.test', '/', BROWSER)
    for (const text of ['SyntaxError', 'index.js', 'const first = 1'])
      assert.ok(textOf(body).includes(text), text)
    world.write('taurus.test/app/index.mjs', `const first = 1\nconst = 2\n`)
    assert.ok(textOf((await world.get('taurus.test', '/', BROWSER)).body).includes('SyntaxError'))
  })

  it('shows, for what an isolated app threw, code from its own vhost only', async () => {
    await using world = await start({ show: true }, 'process')
    world.write('secret.js', 'const secret = 1\n')
    world.link('aries.test/secret.js', '../secret.js')
    world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res, next) => {
        const error = new Error('own code')
        const of = path => '    at f (' + require('path').resolve(__dirname, path) + ':1:1)'
        error.stack = [String(error), of('index.js'), of('../../secret.js'), of('../secret.js')].join('\\n')
        next(error)
      }`,
    )
    const { body } = await world.get('aries.test', '/', BROWSER)
    assert.ok(textOf(body).includes('module.exports = (req, res, next)'))
    assert.ok(textOf(body).includes('secret.js'))
    assert.ok(!textOf(body).includes('const secret'))
    world.write('leo.test/app/index.js', `const answer = 41\nthrow new Error('boom of leo')\n`)
    const failed = textOf((await world.get('leo.test', '/', BROWSER)).body)
    for (const text of ['boom of leo', 'const answer = 41']) assert.ok(failed.includes(text), text)
  })

  it('is text for a client that does not accept HTML', async () => {
    await using world = await start({ show: true })
    world.write('aries.test/app/index.js', `throw new Error('boom')`)
    const { status, headers, body } = await world.get('aries.test')
    assert.deepEqual([status, headers['content-type']], [500, 'text/plain; charset=utf-8'])
    assert.match(body, /^aries\.test: The app cannot be loaded\n\nError: boom\n +at .*index\.js:1:7/)
  })

  it('runs nothing that an error contains', async () => {
    await using world = await start({ show: true })
    const hostile = '</script><script>alert(1)</script><img src=x onerror=alert(2)>'
    world.write('aries.test/app/index.js', `throw new Error(${JSON.stringify(hostile)})`)
    const { body, headers } = await world.get('aries.test', '/?<script>alert(3)</script>', BROWSER)
    assert.doesNotMatch(body, /<script>alert|<img src=x/)
    const nonce = /script-src 'nonce-([^']+)'/.exec(String(headers['content-security-policy']))?.[1]
    assert.ok(nonce)
    assert.deepEqual(
      [...body.matchAll(/<(script|style)\b([^>]*)>/g)].filter(
        ([, , rest]) => !rest?.includes(`nonce="${nonce}"`),
      ),
      [],
    )
  })

  it('does not show the cookies of the request', async () => {
    await using world = await start({ show: true })
    world.write('aries.test/app/index.js', `throw new Error('boom')`)
    const headers = { ...BROWSER.headers, cookie: 'session=s3cret' }
    assert.ok(!(await world.body('aries.test')).includes('s3cret'))
    assert.ok(!(await world.get('aries.test', '/', { headers })).body.includes('s3cret'))
  })

  it('is only the status text in production', async () => {
    const before = process.env.NODE_ENV
    process.env.NODE_ENV = 'production'
    try {
      await using world = await start()
      world.write('aries.test/app/index.js', `throw new Error('boom')`)
      for (const options of [{}, BROWSER]) {
        const { status, body } = await world.get('aries.test', '/', options)
        assert.deepEqual([status, body], [500, 'Internal Server Error\n'])
      }
      const refused = await world.get('a..b')
      assert.deepEqual([refused.status, refused.body], [400, 'Bad Request\n'])
    } finally {
      if (before === undefined) delete process.env.NODE_ENV
      else process.env.NODE_ENV = before
    }
  })

  it('keeps status and headers of an error, and drops the headers that the app set for its content', async () => {
    await using world = await start({ show: false })
    world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res, next) => {
        res.setHeader('Content-Encoding', 'gzip')
        res.setHeader('ETag', '"1"')
        next(Object.assign(new Error('later'), { status: 503, headers: { 'Retry-After': '7' } }))
      }`,
    )
    const { status, headers, body } = await world.get('aries.test')
    assert.deepEqual([status, body, headers['retry-after']], [503, 'Service Unavailable\n', '7'])
    assert.deepEqual([headers.etag, headers['content-encoding']], [undefined, undefined])
    assert.equal((await world.get('aries.test', '/', { method: 'HEAD' })).body, '')
  })

  it('drops headers of an error that belong to another answer, or that Node rejects', async () => {
    await using world = await start({ show: false })
    world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res, next) => next(Object.assign(new Error('of an upstream'), {
        status: 502,
        headers: {
          'Transfer-Encoding': 'chunked', Trailer: 'x-sum', 'content-encoding': 'gzip', 'Content-Length': '1',
          'no name': '1', 'X-Lines': 'a\\nb', 'Cache-Control': 'no-store', 'Retry-After': 7,
        },
      }))`,
    )
    const { status, headers, body } = await world.get('aries.test')
    assert.deepEqual([status, body], [502, 'Bad Gateway\n'])
    const names = ['transfer-encoding', 'trailer', 'content-encoding', 'content-length', 'x-lines']
    assert.deepEqual(
      names.map(name => headers[name]),
      [undefined, undefined, undefined, '12', undefined],
    )
    assert.deepEqual([headers['cache-control'], headers['retry-after']], ['no-store', '7'])
  })

  it('accepts whatever was thrown, and replaces a status that is not an error by 500', async () => {
    await using world = await start({ show: true })
    for (const [thrown, text] of [
      ['"just text"', 'just text'],
      ['0', '0'],
      ['Object.assign(new Error("odd"), { status: 200 })', 'odd'],
      ['Object.assign(new Error("odd"), { status: "teapot" })', 'odd'],
      ['Object.create(null)', ''],
      ['Object.defineProperty(new Error("odd"), "status", { get() { throw 1 } })', 'odd'],
      ['Object.defineProperty(new Error("odd"), "headers", { get() { throw 1 } })', 'odd'],
    ] as const) {
      world.write(
        'aries.test/app/index.js',
        `module.exports = (req, res, next) => next(${thrown} || { toString: () => '0' })`,
      )
      await world.vhosts.reload('aries.test')
      for (const options of [{}, BROWSER]) {
        const { status, body } = await world.get('aries.test', '/', options)
        assert.equal(status, 500)
        assert.ok(body.includes(text), `${thrown}: ${body}`)
      }
    }
  })

  it('does not touch an answer that has begun', async () => {
    await using world = await start({ show: true })
    world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res, next) => { res.write('begun'); next(new Error('boom')) }`,
    )
    await assert.rejects(world.get('aries.test'), { code: 'ECONNRESET' })
  })

  it('refuses a bad option', () => {
    for (const [options, message] of [
      [{ shown: true }, /no option "shown"; did you mean 'show'/],
      [{ show: 'yes' }, /'show' .* must be true or false, not "yes"/],
      [null, /takes an object of options, not null/],
    ] as const) {
      assert.throws(() => errorPage(options as unknown as ErrorPageOptions), {
        code: 'ERR_VHOST_OPTION',
        message,
      })
    }
  })
})

async function start(options?: ErrorPageOptions, isolation: Isolation = 'none'): Promise<World> {
  return await World.start({ isolation }, (app, vhosts) => {
    vhosts.on('error', () => {})
    app.use(vhosts)
    app.use(errorPage(options))
    // Ends what the page leaves, as Express would.
    app.use((_error: unknown, req: { socket: { destroy(): void } }, _res: unknown, _next: unknown) => {
      req.socket.destroy()
    })
  })
}

/** The visible text of a page: without tags, entities as characters. */
function textOf(html: string): string {
  return html
    .replace(/<[^>]*>/g, '')
    .replace(/&#x([\da-f]+);|&#(\d+);/gi, (_, hex, decimal) =>
      String.fromCodePoint(Number.parseInt(hex ?? decimal, hex ? 16 : 10)),
    )
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
}
