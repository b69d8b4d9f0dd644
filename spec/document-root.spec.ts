import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  createReadStream,
  existsSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import fs from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import express from 'express'
import { documentRoot } from '../lib/document-root.ts'
import type { StaticOptions } from '../lib/static-options.ts'
import { PatchedFs } from './support/patched-fs.ts'
import { eventually } from './support/world.ts'

const express4: typeof express = createRequire(import.meta.url)('express4')
const SETTINGS = { appDir: 'app', modulesDir: 'node_modules' }
const NEXT = 'handed over to next()'

interface Vector {
  id: string
  group: string
  raw: string
  status: number
  why: string
  setup: { site: string; files: string }
}

describe('documentRoot', () => {
  it('serves the files of the document root', async t => {
    const { get } = await site(t, { 'static/hello.txt': 'hello', 'static/css/a b.css': 'i {}' })
    const answer = await get('/hello.txt')
    assert.equal(answer.status, 200)
    assert.equal(answer.body, 'hello')
    assert.match(answer.head, /^content-type: text\/plain/im)
    assert.equal((await get('/css/a%20b.css?v=1')).body, 'i {}')
    assert.equal((await get('//css///a%20b.css')).body, 'i {}')
    assert.equal((await get('http://aries.test/hello.txt?v=1')).body, 'hello')
  })

  it('passes on what is not there', async t => {
    const { get } = await site(t, { 'static/hello.txt': 'hello' })
    for (const path of ['/', '/none.txt', '/hello.txt/', '/hello.txt/more', `/${'a'.repeat(300)}`]) {
      assert.equal((await get(path)).body, NEXT, path)
    }
  })

  it('passes on methods other than GET and HEAD', async t => {
    const { ask } = await site(t, { 'static/hello.txt': 'hello' })
    assert.equal((await ask('POST /hello.txt HTTP/1.1\r\nContent-Length: 0')).body, NEXT)
    assert.equal((await ask('OPTIONS * HTTP/1.1')).body, NEXT)
  })

  it('passes on everything of a vhost without a document root, including malformed paths', async t => {
    const { get } = await site(t, { 'app/index.js': '' }, { fallthrough: false })
    for (const path of ['/', '/hello.txt', '/%', '/%00']) assert.equal((await get(path)).body, NEXT, path)
    const file = await site(t, { static: 'a file' })
    for (const path of ['/', '/static', '/hello.txt']) assert.equal((await file.get(path)).body, NEXT, path)
  })

  it('answers HEAD, conditional and range requests', async t => {
    const { ask, get } = await site(t, { 'static/hello.txt': 'hello' })
    const etag = tagOf(await get('/hello.txt'))
    assert.ok(etag)
    const head = await ask('HEAD /hello.txt HTTP/1.1')
    assert.equal(head.status, 200)
    assert.match(head.head, /^content-length: 5\r$/im)
    assert.equal(head.body, '')
    assert.equal((await ask(`GET /hello.txt HTTP/1.1\r\nIf-None-Match: ${etag}`)).status, 304)
    const part = await ask('GET /hello.txt HTTP/1.1\r\nRange: bytes=1-2')
    assert.equal(part.status, 206)
    assert.equal(part.body, 'el')
    assert.equal((await ask('GET /hello.txt HTTP/1.1\r\nRange: bytes=9-')).status, 416)
  })

  it('serves the whole file for a suffix range that is longer', async t => {
    const { ask } = await site(t, { 'static/hello.txt': 'hello', 'static/empty.txt': '' })
    for (const [path, range, status, body] of [
      ['/hello.txt', 'bytes=-5', 206, 'hello'],
      ['/hello.txt', 'bytes=-100', 200, 'hello'],
      ['/hello.txt', 'bytes= -100', 200, 'hello'],
      ['/hello.txt', 'bytes=-0', 416, /Range Not Satisfiable/],
      ['/hello.txt', 'bytes=5-', 416, /Range Not Satisfiable/],
      ['/empty.txt', 'bytes=-100', 200, ''],
      ['/empty.txt', 'bytes=0-', 416, /Range Not Satisfiable/],
      ['/hello.txt', 'bytes=0-1,-2', 200, 'hello'],
      ['/hello.txt', 'bytes=0-1, -100', 200, 'hello'],
      ['/hello.txt', 'bytes=-100,9-', 200, 'hello'],
      ['/hello.txt', 'bytes=0-1,9-', 206, 'he'],
    ] as const) {
      const answer = await ask(`GET ${path} HTTP/1.1\r\nRange: ${range}`)
      assert.equal(answer.status, status, range)
      if (typeof body === 'string') assert.equal(answer.body, body, range)
      else assert.match(answer.body, body, range)
    }
  })

  it('continues a download by its date only if the file has exactly that date', async t => {
    const { ask, root } = await site(t, { 'static/a.txt': 'hello' })
    await fs.utimes(join(root, 'static/a.txt'), 1_000_000_000, 1_000_000_000)
    // The last is that of a release which has since been rolled back.
    for (const [date, status] of [
      ['Sun, 09 Sep 2001 01:46:40 GMT', 206],
      ['Sun, 09 Sep 2001 01:46:39 GMT', 200],
      ['Mon, 10 Sep 2001 01:46:40 GMT', 200],
    ]) {
      const answer = await ask(`GET /a.txt HTTP/1.1\r\nRange: bytes=2-\r\nIf-Range: ${date}`)
      assert.equal(answer.status, status, String(date))
    }
  })

  it('serves the index of a folder and redirects to its slash', async t => {
    const { get } = await site(t, { 'static/index.html': 'top', 'static/docs/index.html': 'docs' })
    assert.equal((await get('/')).body, 'top')
    assert.equal((await get('/docs/')).body, 'docs')
    const answer = await get('/docs?page=1')
    assert.equal(answer.status, 301)
    assert.match(answer.head, /^location: \/docs\/\?page=1\r$/im)
  })

  it('follows the options index, extensions and redirect', async t => {
    const files = {
      'static/a/home.htm': 'home',
      'static/a/index.html': 'index',
      'static/b/index.html': 'index',
      'static/page.html': 'page',
      'static/page.txt': 'text',
      'static/only.txt/x': '',
    }
    const { get } = await site(t, files, {
      index: ['home.htm', 'index.html'],
      extensions: ['htm', 'html', 'txt'],
    })
    assert.equal((await get('/a/')).body, 'home')
    assert.equal((await get('/b/')).body, 'index')
    assert.equal((await get('/page')).body, 'page')
    assert.equal((await get('/page/')).body, NEXT)
    assert.equal((await get('/only')).body, NEXT)
    const bare = await site(t, files, { index: false, redirect: false, extensions: 'txt' })
    assert.equal((await bare.get('/a/')).body, NEXT)
    assert.equal((await bare.get('/a')).body, NEXT)
    assert.equal((await bare.get('/page')).body, 'text')
  })

  it('passes the options of express.static on', async t => {
    const seen: string[] = []
    const { get, root } = await site(
      t,
      { 'static/hello.txt': 'hello' },
      {
        maxAge: '1h',
        immutable: true,
        etag: false,
        lastModified: false,
        acceptRanges: false,
        setHeaders(res, path, stat) {
          seen.push(path)
          res.setHeader('X-Size', stat.size)
        },
      },
    )
    const { head } = await get('/hello.txt')
    assert.match(head, /^cache-control: public, max-age=3600, immutable\r$/im)
    assert.match(head, /^x-size: 5\r$/im)
    assert.doesNotMatch(head, /^(etag|last-modified|accept-ranges):/im)
    assert.deepEqual(seen, [join(root, 'static/hello.txt')])
  })

  it('makes a missing file an error when fallthrough is false, without a path in it', async t => {
    const { get } = await site(
      t,
      { 'static/hello.txt': 'hello', 'static/.env': 'secret' },
      { fallthrough: false },
    )
    assert.equal((await get('/hello.txt')).body, 'hello')
    for (const path of ['/none', '/.env', '/%2e%2e/app']) {
      const answer = await get(path)
      assert.equal(answer.status, 404, path)
      assert.equal(answer.body, 'Error: Not Found', path)
    }
  })

  it('answers other methods with 405 when fallthrough is false, where there is a document root', async t => {
    const { ask } = await site(t, { 'static/hello.txt': 'hello' }, { fallthrough: false })
    for (const target of ['/hello.txt', '/none']) {
      const { status, head } = await ask(`POST ${target} HTTP/1.1\r\nContent-Length: 0`)
      assert.equal(status, 405, target)
      assert.match(head, /^allow: GET, HEAD\r$/im)
    }
    const without = await site(t, { 'app/index.js': '' }, { fallthrough: false })
    assert.equal((await without.ask('POST /hello.txt HTTP/1.1\r\nContent-Length: 0')).body, NEXT)
  })

  it('refuses no method of a request that others have answered meanwhile', async t => {
    const root = await folder(t, { 'static/hello.txt': 'hello' })
    const serve = documentRoot({ fallthrough: false }, SETTINGS)
    const { ask } = await listening(t, (req, res) => {
      serve(root, req, res, () => {})
      res.end('answered')
    })
    const { status, body } = await ask('POST /hello.txt HTTP/1.1\r\nContent-Length: 0')
    assert.deepEqual([status, body], [200, 'answered'])
  })

  it('hands what setHeaders throws to next(), with nothing of the file', async t => {
    let isBroken = false
    const setHeaders = (res: ServerResponse): void => {
      res.setHeader('X-Site', 'aries')
      if (isBroken) throw new Error('no such site')
    }
    const { ask, root } = await site(
      t,
      { 'static/hello.txt': 'hello', 'static/empty.txt': '' },
      { setHeaders },
    )
    const etag = tagOf(await ask('GET /hello.txt HTTP/1.1'))
    assert.ok(etag)
    isBroken = true
    for (const request of [
      'GET /hello.txt HTTP/1.1',
      'GET /empty.txt HTTP/1.1',
      'GET /hello.txt HTTP/1.1\r\nRange: bytes=1-2',
      'GET /hello.txt HTTP/1.1\r\nRange: bytes=9-',
      `GET /hello.txt HTTP/1.1\r\nIf-None-Match: ${etag}`,
      `GET /hello.txt HTTP/1.1\r\nIf-Match: "another"`,
    ]) {
      const { body, head } = await ask(request)
      assert.match(body, /Error: no such site/, request)
      assert.doesNotMatch(head, /^(x-site|etag|last-modified|cache-control):/im, request)
    }
    assert.equal((await ask('HEAD /hello.txt HTTP/1.1')).status, 404)
    const isOpen = readdirSync('/proc/self/fd').some(fd =>
      leadsTo(join('/proc/self/fd', fd), join(root, 'static/hello.txt')),
    )
    assert.equal(isOpen, false)
    isBroken = false
    assert.equal((await ask('GET /hello.txt HTTP/1.1')).body, 'hello')
  })

  it('serves another folder as the document root', async t => {
    const { get } = await site(t, { 'web/public/a.txt': 'a', 'static/b.txt': 'b' }, { dir: 'web/public/' })
    assert.equal((await get('/a.txt')).body, 'a')
    assert.equal((await get('/b.txt')).body, NEXT)
  })

  it('treats dot files as absent, except .well-known', async t => {
    const { get } = await site(t, {
      'static/.well-known/acme-challenge/token': 'token',
      'static/.well-known/.env': 'secret',
      'static/.well-known/index.html': 'list',
      'static/.well-known.html': 'secret',
      'static/docs/.well-known/x': 'secret',
      'static/.env': 'secret',
      'static/.git/config': 'secret',
    })
    assert.equal((await get('/.well-known/acme-challenge/token')).body, 'token')
    assert.equal((await get('/%2ewell-known/acme-challenge/token')).body, 'token')
    assert.equal((await get('/.well-known/')).body, 'list')
    for (const path of [
      '/.env',
      '/%2eenv',
      '/.git/config',
      '/.well-known/.env',
      '/.well-known.html',
      '/docs/.well-known/x',
      '/.WELL-KNOWN/../.env',
      '/.well-known/../.env',
      '/.well-known/%2e%2e/.env',
    ]) {
      assert.equal((await get(path)).body, NEXT, path)
    }
  })

  it('leaves dot files to express.static if an option says what to do with them', async t => {
    const files = {
      'static/.well-known/x': 'x',
      'static/.config': 'config',
      'static/a/b': '',
      '.env': 'secret',
    }
    const allowing = await site(t, files, { dotfiles: 'allow' })
    assert.equal((await allowing.get('/.config')).body, 'config')
    assert.equal((await allowing.get('/../.env')).body, NEXT)
    assert.equal((await allowing.get('/a/../.config')).body, NEXT)
    await fs.symlink('../.env', join(allowing.root, 'static/link'))
    assert.equal((await allowing.get('/link')).body, NEXT)
    const ignoring = await site(t, files, { dotfiles: 'ignore' })
    assert.equal((await ignoring.get('/.well-known/x')).body, NEXT)
    const denying = await site(t, files, { dotfiles: 'deny', fallthrough: false })
    for (const path of ['/.config', '/.none', '/.none/', '/a/.git/x', '/.well-known/']) {
      assert.equal((await denying.get(path)).status, 403, path)
    }
  })

  it('refuses hostile paths as its vectors say', async t => {
    const file = join(process.cwd(), 'spec/vectors/hosts.json')
    const { vectors } = JSON.parse(await fs.readFile(file, 'utf8')) as { vectors: Vector[] }
    const ofPaths = vectors.filter(({ group }) => group === 'static path')
    assert.equal(ofPaths.length, 11)
    for (const { id, raw, status, setup } of ofPaths) {
      const files = Object.fromEntries(setup.files.split(' ').map(name => [name, 'secret']))
      const { send } = await site(t, files, { dir: 'public' }, { ...SETTINGS, appDir: '.' })
      const answer = await send(raw)
      assert.equal(answer.status, status, id)
      assert.doesNotMatch(answer.body, /secret/, id)
    }
  })

  it('never leaves the document root, however the path is written', async t => {
    const files = {
      'static/index.html': 'index',
      'static/a/b.txt': 'b',
      'static/evil.example/dir/x': '',
      'static/...x': 'secret',
      'secret.txt': 'secret',
      'app/index.js': 'secret',
    }
    for (const options of [{}, { dotfiles: 'allow' }, { links: 'any' }] as StaticOptions[]) {
      const { get } = await site(t, files, options)
      for (const path of [
        '/../secret.txt',
        '/..%2fsecret.txt',
        '/..%5csecret.txt',
        '/..\\secret.txt',
        '/\\..\\secret.txt',
        '/a/..;/../../secret.txt',
        '/..;/secret.txt',
        '/%2e%2e%2fsecret.txt',
        '/%2e%2e/secret.txt',
        '/.%2e/secret.txt',
        '/a/../../secret.txt',
        '/a%2fb.txt',
        '/a%5cb.txt',
        '/a/./b.txt',
        '/%252e%252e/secret.txt',
        '/%c0%ae%c0%ae/secret.txt',
        '/%u002e%u002e/secret.txt',
        '/\xa0/../secret.txt',
        'http://aries.test/../secret.txt',
        'http://aries.test\\..\\secret.txt',
        '//aries.test/../secret.txt',
        '/a/b.txt%00',
        '/a/b.txt%00.html',
        '/%',
        '/%zz',
      ]) {
        const answer = await get(path)
        assert.ok(answer.body === NEXT || answer.status === 400, `${path}: ${answer.status} ${answer.body}`)
      }
    }
  })

  it('answers 400, without a path of this machine, to a path that cannot be decoded', async t => {
    const { get } = await site(t, { 'static/index.html': 'index' })
    for (const path of ['/%', '/%E0%A4%A', '/%zz', '/a%00.html']) {
      const answer = await get(path)
      assert.equal(answer.status, 400, path)
      assert.match(answer.body, /^VhostError \[ERR_VHOST_PATH\]: [^/]*$/, path)
    }
    assert.equal((await get('/%c0%ae')).body, NEXT)
  })

  it('never redirects to another host', async t => {
    const { get } = await site(t, { 'static/dir/x': '', 'static/evil.example/dir/x': '' })
    const cases = {
      '/dir': '/dir/',
      '//dir': '/dir/',
      '//evil.example/dir': '/evil.example/dir/',
      '///evil.example/dir?a#b': '/evil.example/dir/?a',
      'http://evil.example/dir': '/dir/',
      'http:////evil.example/dir': '/evil.example/dir/',
    }
    for (const [path, location] of Object.entries(cases)) {
      const answer = await get(path)
      assert.equal(answer.status, 301, path)
      assert.equal(/^location: (.*)\r$/im.exec(answer.head)?.[1], location, path)
    }
    for (const path of ['/\\dir', '/\\evil.example/dir', '//evil.example/%2e%2e', '//me@evil.example/dir#']) {
      assert.equal((await get(path)).body, NEXT, path)
    }
  })

  it('follows links inside the document root unless links are refused', async t => {
    for (const links of ['owner', 'any', 'none'] as const) {
      const { get, root } = await site(t, { 'static/a.txt': 'a', 'static/d/b.txt': 'b' }, { links })
      await fs.symlink('a.txt', join(root, 'static/link.txt'))
      await fs.symlink('d', join(root, 'static/dlink'))
      await fs.symlink('loop', join(root, 'static/loop'))
      await fs.symlink('nothing', join(root, 'static/dangling'))
      assert.equal((await get('/a.txt')).body, 'a', links)
      assert.equal((await get('/link.txt')).body, links === 'none' ? NEXT : 'a', links)
      assert.equal((await get('/dlink/b.txt')).body, links === 'none' ? NEXT : 'b', links)
      assert.equal((await get('/dlink')).status, links === 'none' ? 404 : 301, links)
      assert.equal((await get('/loop')).body, NEXT, links)
      assert.equal((await get('/dangling')).body, NEXT, links)
    }
  })

  it('follows links that lead out if link and target have one owner', async t => {
    const outside = await folder(t, { 'a.txt': 'a', 'd/b.txt': 'b', 'd/index.html': 'index' })
    for (const links of ['owner', 'any', 'none'] as const) {
      const { get, root } = await site(t, { 'static/x.txt': 'x', 'shared/s.txt': 's' }, { links })
      await fs.symlink(join(outside, 'a.txt'), join(root, 'static/a.txt'))
      await fs.symlink(join(outside, 'd'), join(root, 'static/d'))
      await fs.symlink('../shared', join(root, 'static/shared'))
      for (const [path, body] of [
        ['/a.txt', 'a'],
        ['/d/b.txt', 'b'],
        ['/d/', 'index'],
        ['/shared/s.txt', 's'],
      ]) {
        assert.equal((await get(path as string)).body, links === 'none' ? NEXT : body, `${links} ${path}`)
      }
    }
  })

  it("follows no link to another owner's file, unless links are 'any'", async t => {
    if (process.getuid?.() !== 0) return t.skip('only root can give files away')
    const outside = await folder(t, { 'a.txt': 'a', 'd/b.txt': 'b' })
    for (const links of ['owner', 'any'] as const) {
      const { get, root } = await site(t, { 'static/mine.txt': 'mine' }, { links })
      const place = join(root, 'static')
      await fs.symlink(join(outside, 'a.txt'), join(place, 'a.txt'))
      await fs.symlink(join(outside, 'd'), join(place, 'd'))
      await fs.symlink('mine.txt', join(place, 'inside.txt'))
      for (const name of ['a.txt', 'd', 'inside.txt']) await fs.lchown(join(place, name), 1234, 1234)
      assert.equal((await get('/a.txt')).body, links === 'any' ? 'a' : NEXT)
      assert.equal((await get('/d/b.txt')).body, links === 'any' ? 'b' : NEXT)
      assert.equal((await get('/inside.txt')).body, 'mine')
      await fs.chown(join(outside, 'a.txt'), 1234, 1234)
      assert.equal((await get('/a.txt')).body, 'a')
      await fs.chown(join(outside, 'a.txt'), 0, 0)
    }
  })

  it('serves a document root that is a link out of the release only as the option links allows', async t => {
    const outside = await folder(t, { 'a.txt': 'a' })
    for (const links of ['owner', 'any', 'none'] as const) {
      const { get, root } = await site(t, { 'build/b.txt': 'b' }, { links })
      await fs.symlink(outside, join(root, 'static'))
      assert.equal((await get('/a.txt')).body, links === 'none' ? NEXT : 'a', links)
      if (process.getuid?.() === 0) {
        await fs.lchown(join(root, 'static'), 1234, 1234)
        assert.equal((await get('/a.txt')).body, links === 'any' ? 'a' : NEXT, links)
      }
      await fs.rm(join(root, 'static'))
      await fs.symlink('build', join(root, 'static'))
      assert.equal((await get('/b.txt')).body, 'b', links)
    }
  })

  it('serves no document root that is a link to code or secrets', async t => {
    const files = {
      'app/public/a.txt': 'a',
      'node_modules/x/a.txt': 'a',
      'certs/a.txt': 'a',
      '.git/a.txt': 'a',
      'a.txt': 'a',
    }
    for (const target of [
      '.',
      '..',
      'app',
      'app/public',
      'node_modules',
      'node_modules/x',
      'certs',
      '.git',
      '/',
    ]) {
      const { get, root } = await site(t, files, { links: 'any' })
      await fs.symlink(target, join(root, 'static'))
      assert.equal((await get('/a.txt')).body, NEXT, target)
      assert.equal((await get('/')).body, NEXT, target)
    }
    const { get, root } = await site(t, { 'static/app/index.js': 'secret', 'static/a.txt': 'a' })
    await fs.symlink('static/app', join(root, 'app'))
    assert.equal((await get('/a.txt')).body, NEXT)
    const outside = await folder(t, { 'code/index.js': 'secret' })
    const shared = await site(t, {}, { links: 'any' })
    await fs.symlink(join(outside, 'code'), join(shared.root, 'app'))
    await fs.symlink(outside, join(shared.root, 'static'))
    assert.equal((await shared.get('/code/index.js')).body, NEXT)
  })

  it('gives away no secret through a link, whatever links say', async t => {
    const files = {
      'app/index.js': 'secret',
      'app/package.json': 'secret',
      'certs/key.pem': 'secret',
      'package.json': 'secret',
      'package-lock.json': 'secret',
      '.env': 'secret',
      '.git/config': 'secret',
      'data/.htpasswd': 'secret',
      'static/.hidden': 'secret',
      'static/a.txt': 'a',
      'node_modules/lib/dist.js': 'dist',
      '.well-known/x': 'x',
    }
    for (const links of ['owner', 'any', 'none'] as const) {
      const { get, root } = await site(t, files, { links })
      for (const name of ['app', 'certs', '.git', 'data', 'node_modules']) {
        await fs.symlink(join('..', name), join(root, 'static', `${name.replace('.', '')}-link`))
      }
      await fs.symlink(root, join(root, 'static/all'))
      await fs.symlink('.hidden', join(root, 'static/seen'))
      await fs.symlink('../package-lock.json', join(root, 'static/lock.json'))
      for (const path of [
        '/app-link/index.js',
        '/app-link',
        '/certs-link/key.pem',
        '/git-link/config',
        '/data-link/.htpasswd',
        '/all/app/index.js',
        '/all/package.json',
        '/all/.env',
        '/lock.json',
        '/seen',
      ]) {
        assert.equal((await get(path)).body, NEXT, `${links} ${path}`)
      }
      assert.equal((await get('/node_modules-link/lib/dist.js')).body, links === 'none' ? NEXT : 'dist')
    }
    const shared = await folder(t, { 'key.pem': 'secret' })
    const { get, root } = await site(t, { 'static/a.txt': 'a' }, { links: 'any' })
    await fs.symlink(shared, join(root, 'certs'))
    await fs.symlink(join(shared, 'key.pem'), join(root, 'static/key.txt'))
    assert.equal((await get('/key.txt')).body, NEXT)
  })

  it('gives away no secret of another vhost through a link, whatever links say', async t => {
    const secrets = ['.env', 'certs/key.pem', 'package.json', 'package-lock.json', '.git/config']
    const other = await folder(
      t,
      Object.fromEntries([...secrets, 'shared/a.txt'].map(name => [name, 'text'])),
    )
    for (const links of ['owner', 'any'] as const) {
      const { get, root } = await site(t, { 'static/b.txt': 'b' }, { links })
      for (const [n, name] of secrets.entries()) {
        await fs.symlink(join(other, name), join(root, `static/link-${n}`))
        assert.equal((await get(`/link-${n}`)).body, NEXT, `${links} ${name}`)
      }
      await fs.symlink(other, join(root, 'static/all'))
      assert.equal((await get('/all/certs/key.pem')).body, NEXT, links)
      assert.equal((await get('/all/shared/a.txt')).body, 'text', links)
    }
  })

  it('gives away nothing of the release but its document root when the release is the app', async t => {
    const files = { 'index.js': 'secret', 'lib/a.js': 'secret', 'static/a.txt': 'a' }
    const { get, root } = await site(t, files, { links: 'any' }, { ...SETTINGS, appDir: '.' })
    await fs.symlink('../index.js', join(root, 'static/index.js'))
    await fs.symlink('../lib', join(root, 'static/lib'))
    assert.equal((await get('/a.txt')).body, 'a')
    assert.equal((await get('/index.js')).body, NEXT)
    assert.equal((await get('/lib/a.js')).body, NEXT)
  })

  it('opens no pipe, and nothing that it may not read', async t => {
    if (process.platform === 'win32') return t.skip('Windows has neither')
    const { get, root } = await site(t, { 'static/closed.txt': 'closed', 'static/d/x.txt': 'x' })
    execFileSync('mkfifo', [join(root, 'static/pipe')])
    assert.equal((await get('/pipe')).body, NEXT)
    if (process.getuid?.() === 0) return
    await fs.chmod(join(root, 'static/closed.txt'), 0)
    await fs.chmod(join(root, 'static/d'), 0)
    await fs.mkdir(join(root, 'static/unlisted'), { mode: 0o311 })
    try {
      assert.equal((await get('/unlisted')).status, 301)
      const answer = await get('/closed.txt')
      assert.equal(answer.body, NEXT)
      assert.doesNotMatch(answer.head, /^(etag|cache-control):/im)
      assert.equal((await get('/d/x.txt')).body, NEXT)
    } finally {
      await fs.chmod(join(root, 'static/d'), 0o700)
    }
  })

  describe('what is replaced between the check and the opening', () => {
    const skip = process.platform === 'linux' ? false : 'elsewhere nothing tells'

    it('does not wait for a pipe: no thread of the file system is held up', { skip }, async t => {
      const { get, root } = await site(
        t,
        { 'static/a.txt': 'a', 'static/b.txt': 'b' },
        { setHeaders: (_, path) => path.endsWith('a.txt') && exchange() },
      )
      const path = join(root, 'static/a.txt')
      function exchange(): void {
        rmSync(path)
        execFileSync('mkfifo', [path])
      }
      for (let time = 0; time < 5; time++) {
        rmSync(path, { force: true })
        writeFileSync(path, 'a')
        assert.ok((await get('/a.txt')).body.includes(NEXT))
      }
      assert.equal((await get('/b.txt')).body, 'b')
    })

    for (const step of ['a.txt', '.']) {
      it(`serves nothing through a link put in the place of ${step}, and nothing from elsewhere`, {
        skip,
      }, async t => {
        const { get, root } = await site(
          t,
          { 'static/d/a.txt': 'a', 'secrets/a.txt': 'secret' },
          { links: 'none', setHeaders: () => exchange() },
        )
        const path = join(root, 'static/d', step)
        function exchange(): void {
          rmSync(path, { recursive: true })
          symlinkSync(join(root, 'secrets', step), path)
        }
        assert.ok((await get('/d/a.txt')).body.includes(NEXT))
      })
    }

    it('serves what a deploy has meanwhile put there, or what it has just removed', async t => {
      const { get, root } = await site(t, { 'static/a.txt': 'old' }, { setHeaders: () => deploy() })
      let deploys = 0
      function deploy(): void {
        if (deploys++ > 0) return
        writeFileSync(join(root, 'static/new.txt'), 'new')
        renameSync(join(root, 'static/new.txt'), join(root, 'static/a.txt'))
      }
      assert.equal((await get('/a.txt')).body, 'new')
    })

    it('sends neither a part of what a deploy has meanwhile put there, nor the tag of what was there', async t => {
      let deploys = 0
      const { get, root } = await site(t, { 'static/a.txt': 'old' }, { setHeaders: () => deploy() })
      function deploy(): void {
        if (deploys++ > 0) return
        writeFileSync(join(root, 'static/new.txt'), 'new and longer')
        renameSync(join(root, 'static/new.txt'), join(root, 'static/a.txt'))
      }
      const [during, later] = [await get('/a.txt'), await get('/a.txt')]
      assert.equal(during.body, 'new and longer')
      assert.equal(tagOf(during), tagOf(later))
    })

    it('serves a file that has grown meanwhile at the length it had', async t => {
      let looks = 0
      const { get, root } = await site(t, { 'static/log.txt': 'one' }, { setHeaders: () => grow() })
      function grow(): void {
        looks++
        appendFileSync(join(root, 'static/log.txt'), ' more')
      }
      assert.equal((await get('/log.txt')).body, 'one')
      assert.equal(looks, 1)
    })

    it('serves a file from its present place after a folder above was replaced', { skip }, async t => {
      const { get, root } = await site(
        t,
        { 'static/d/a.txt': 'old', 'static/e/a.txt': 'new' },
        { setHeaders: () => flip() },
      )
      let flips = 0
      function flip(): void {
        if (flips++ > 0) return
        renameSync(join(root, 'static/d'), join(root, 'static/before'))
        symlinkSync('e', join(root, 'static/d'))
      }
      assert.equal((await get('/d/a.txt')).body, 'new')
      assert.equal(flips, 2)
    })
  })

  it('reports a failing file system without its paths', async t => {
    const { get, root } = await site(t, { 'static/a.txt': 'a' })
    const failing = t.mock.method(fs, 'realpath', async (path: string) => {
      throw Object.assign(new Error(`EMFILE: too many open files, realpath '${path}'`), {
        code: 'EMFILE',
        syscall: 'realpath',
      })
    })
    // Rebinds named imports of node:fs/promises to what is on its object now, and again below.
    syncBuiltinESMExports()
    t.after(() => {
      failing.mock.restore()
      syncBuiltinESMExports()
    })
    const answer = await get('/a.txt')
    assert.equal(answer.status, 500)
    assert.equal(answer.body, 'Error: The document root cannot be read')
    assert.ok(!answer.body.includes(root))
  })

  it('names no file of this machine in errors made by send', async t => {
    const { ask } = await site(
      t,
      { 'static/a.txt': 'a', 'static/.x': 'x' },
      { dotfiles: 'deny', fallthrough: false },
    )
    for (const [head, status, body] of [
      ['GET /a.txt HTTP/1.1\r\nRange: bytes=9-', 416, 'RangeNotSatisfiableError: Range Not Satisfiable'],
      ['GET /a.txt HTTP/1.1\r\nIf-Match: "x"', 412, 'PreconditionFailedError: Precondition Failed'],
      ['GET /.x HTTP/1.1', 403, 'ForbiddenError: Forbidden'],
    ] as const) {
      const answer = await ask(head)
      assert.deepEqual([answer.status, answer.body], [status, body])
    }
  })

  it('says nothing of a file that is removed before it is opened', async t => {
    for (const [fallthrough, body] of [
      [true, NEXT],
      [false, 'Error: Not Found'],
    ] as const) {
      const { ask, root } = await site(
        t,
        { 'static/app.js': 'hello' },
        { fallthrough, immutable: true, maxAge: '1y', setHeaders: () => rmSync(join(root, 'static/app.js')) },
      )
      const answer = await ask('GET /app.js HTTP/1.1\r\nRange: bytes=0-1')
      assert.equal(answer.status, 404)
      assert.ok(answer.body.includes(body))
      assert.doesNotMatch(
        answer.head,
        /content-length|cache-control|etag|last-modified|content-type|content-range|accept-ranges/i,
      )
    }
  })

  it('gives back the headers that it has set anew for a file that is removed before it is opened', async t => {
    const root = await folder(t, { 'static/app.js': 'hello' })
    const setHeaders = (res: ServerResponse): void => {
      rmSync(join(root, 'static/app.js'))
      res.setHeader('Cache-Control', 'immutable')
      res.appendHeader('Link', '</b>')
      res.appendHeader('Vary', 'Origin')
      res.removeHeader('X-Frame-Options')
    }
    const serve = documentRoot({ setHeaders }, SETTINGS)
    const before = {
      'cache-control': 'no-store',
      link: ['</a>', '</c>'],
      vary: 'Accept',
      'x-frame-options': 'DENY',
    }
    let after = {}
    const { get } = await listening(t, (req, res) => {
      for (const [name, value] of Object.entries(structuredClone(before))) res.setHeader(name, value)
      serve(root, req, res, () => {
        after = { ...res.getHeaders() }
        res.end()
      })
    })
    await get('/app.js')
    assert.deepEqual(after, before)
  })

  it('sends nothing of a file that was empty and is written to before it is read', async t => {
    let root = ''
    const setHeaders = (): void => writeFileSync(join(root, 'static/app.js'), 'hello')
    const { ask, ...rest } = await site(t, { 'static/app.js': '' }, { setHeaders })
    root = rest.root
    const answer = await ask('GET /app.js HTTP/1.1')
    assert.equal(answer.status, 200)
    assert.match(answer.head, /^content-length: 0\r$/im)
    assert.equal(answer.body, '')
    assert.equal((await ask('GET /app.js HTTP/1.1')).body, 'hello')
  })

  it('breaks off when a file has become shorter before it is read, and keeps nobody waiting', {
    timeout: 60_000,
  }, async t => {
    for (const content of ['', 'he']) {
      const root = await folder(t, { 'static/app.js': 'hello' })
      const setHeaders = (): void => writeFileSync(join(root, 'static/app.js'), content)
      const serve = documentRoot({ setHeaders }, SETTINGS)
      const { send } = await listening(t, (req, res) => {
        // Keeps an uncut answer open, so that the client would wait.
        req.socket.setTimeout = () => req.socket
        serve(root, req, res, () => res.end())
      })
      const broken = await send('GET /app.js HTTP/1.1\r\nHost: aries.test\r\n\r\n').catch(error => error.code)
      assert.notEqual(broken.body, 'hello')
    }
  })

  it('leaves an answer alone that others send instead of a document that has meanwhile gone', async t => {
    const root = await folder(t, { 'static/app.js': 'hello', 'half.txt': 'half.' })
    const serve = documentRoot({}, SETTINGS)
    let waiting: ServerResponse | undefined
    const { send } = await listening(t, (req, res) => {
      if (req.url === '/first') {
        waiting = res
        return
      }
      serve(root, req, res, () => {
        res.setHeader('Content-Length', 10)
        const half = createReadStream(join(root, 'half.txt'))
        half.once('end', () => createReadStream(join(root, 'half.txt')).pipe(res)).pipe(res, { end: false })
      })
      // The document is looked for before the response's turn, and opened then.
      void eventually(() => res.listenerCount('socket') > 0).then(() => {
        rmSync(join(root, 'static/app.js'))
        waiting?.end()
      })
    })
    const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: aries.test\r\n${more}\r\n`
    const { body } = await send(get('/first') + get('/app.js', 'Connection: close\r\n'))
    assert.match(body, /\r\n\r\nhalf\.half\.$/)
  })

  it('keeps no file open for a client that leaves before the turn of its answer', async t => {
    const root = await folder(t, { 'static/large.txt': 'x'.repeat(5_000_000), 'static/small.txt': 'x' })
    const serve = documentRoot({}, SETTINGS)
    let asked = 0
    const server = createServer((req, res) => {
      asked++
      serve(root, req, res, () => res.end())
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    const { port } = server.address() as AddressInfo
    const large = join(root, 'static/large.txt')
    const open = (): number => readdirSync('/proc/self/fd').filter(fd => leadsTo(fd, large)).length
    for (let client = 1; client <= 10; client++) {
      const socket = connect(port, '127.0.0.1')
      socket.write('GET /large.txt HTTP/1.1\r\nHost: aries.test\r\n\r\n'.repeat(3))
      await once(socket, 'data')
      await eventually(() => asked === 4 * client - 1 && open() > 0)
      // Its looks at the disk come after those of the three requests.
      await (await fetch(`http://127.0.0.1:${port}/small.txt`)).text()
      socket.destroy()
    }
    await eventually(() => open() === 0)
  })

  it('keeps no file open for an HTTP/2 client that has left before it is opened', async t => {
    const root = await folder(t, { 'static/large.txt': 'x'.repeat(1_000_000) })
    let closed = 0
    using _ = new PatchedFs((name, close) =>
      name === 'close'
        ? (...values) => {
            closed++
            close(...values)
          }
        : undefined,
    )
    const serve = documentRoot({}, SETTINGS)
    const server = createHttp2Server((req, res) => {
      const pair = [req, res] as unknown as [IncomingMessage, ServerResponse]
      req.stream.once('close', () => serve(root, ...pair, () => {}))
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    const client = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    t.after(() => client.destroy())
    const request = client.request({ ':path': '/large.txt' })
    await once(server, 'stream')
    request.close()
    await eventually(() => closed > 0)
  })

  it('gives files of the same size and time different tags, unless told otherwise', async t => {
    const tags = new Set<string | undefined>()
    for (const name of ['a.1.js', 'a.2.js']) {
      const { get, root } = await site(t, { 'static/index.html': name })
      await fs.utimes(join(root, 'static/index.html'), 1, 1)
      const [, tag] = /^etag: (W\/"[^"]+")\r$/im.exec((await get('/')).head) ?? []
      assert.ok(tag)
      tags.add(tag)
      assert.equal(/^etag: (.+)\r$/im.exec((await get('/')).head)?.[1], tag)
    }
    assert.equal(tags.size, 2)
    const untagged = await site(t, { 'static/index.html': 'a' }, { etag: false })
    assert.doesNotMatch((await untagged.get('/')).head, /etag/i)
    const own = await site(
      t,
      { 'static/index.html': 'a' },
      { setHeaders: res => res.setHeader('ETag', '"1"') },
    )
    assert.match((await own.get('/')).head, /^etag: "1"\r$/im)
  })

  it('leaves the request unchanged for the next handler', async t => {
    const root = await folder(t, { 'static/dir/index.html': '' })
    const serve = documentRoot({ dotfiles: 'deny', extensions: 'html' }, SETTINGS)
    const { get } = await listening(t, (req, res) => {
      serve(root, req, res, () =>
        res.end(`${req.method} ${req.url} ${Object.keys(req).includes('originalUrl')}`),
      )
    })
    assert.equal((await get('/.dir//index?a=%2e')).body, 'GET /.dir//index?a=%2e false')
  })

  for (const [name, create] of [
    ['Express 5', express],
    ['Express 4', express4],
  ] as const) {
    it(`serves in an app of ${name}, mounted or not`, async t => {
      const root = await folder(t, { 'static/index.html': 'index', 'static/a/b.txt': 'b' })
      const serve = documentRoot({ fallthrough: true }, SETTINGS)
      const app = create().set('env', 'test')
      const handler = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) =>
        serve(root, req, res, next)
      app.use('/mount', handler, (req, res) => res.send(`${NEXT} ${req.url}`))
      app.use(handler, (req, res) => res.send(`${NEXT} ${req.url}`))
      const { get } = await listening(t, app)
      assert.equal((await get('/a/b.txt')).body, 'b')
      assert.equal((await get('/mount/a/b.txt')).body, 'b')
      assert.equal((await get('/mount/')).body, 'index')
      assert.equal((await get('/none?x')).body, `${NEXT} /none?x`)
      assert.equal((await get('/mount/none?x')).body, `${NEXT} /none?x`)
      for (const [path, location] of [
        ['/mount', '/mount/'],
        ['/mount?x=1', '/mount/?x=1'],
        ['/mount/a', '/mount/a/'],
        ['//a', '/a/'],
      ]) {
        assert.equal(/^location: (.*)\r$/im.exec((await get(path as string)).head)?.[1], location, path)
      }
      const bad = await get('/%zz')
      assert.equal(bad.status, 400)
      assert.ok(!bad.body.includes(process.cwd()) && !bad.body.includes(root))
    })
  }

  it('refuses unknown options, naming the nearest right one', () => {
    for (const [name, nearest] of [
      ['maxage', 'maxAge'],
      ['dotFiles', 'dotfiles'],
      ['extension', 'extensions'],
      ['redirects', 'redirect'],
      ['folowLinks', 'links'],
    ]) {
      refuses({ [name as string]: undefined }, new RegExp(`"${name}"; did you mean '${nearest}'`))
    }
    refuses({ __proto__: null, toString: 1 })
    refuses(Object.create({ links: 'all' }), /option 'links'/)
    refuses(Object.create({ link: 'none' }), /did you mean 'links'/)
    refuses('static')
    refuses(null)
    refuses([])
  })

  it('refuses bad values of options', () => {
    for (const options of [
      { dir: 1 },
      { links: 'all' },
      { links: true },
      { acceptRanges: 1 },
      { dotfiles: 'hide' },
      { etag: 'weak' },
      { extensions: true },
      { extensions: [''] },
      { extensions: ['a/b'] },
      { index: '../index.html' },
      { index: ['..'] },
      { index: [1] },
      { fallthrough: 0 },
      { maxAge: -1 },
      { maxAge: Number.NaN },
      { maxAge: 'a day' },
      { maxAge: '' },
      { setHeaders: {} },
    ]) {
      refuses(options, new RegExp(`option '${Object.keys(options)[0]}'`))
    }
  })

  it('treats undefined as absent', async t => {
    const root = await folder(t, { 'static/a/index.html': 'a' })
    const serve = documentRoot(
      Object.fromEntries(
        [
          'dir',
          'links',
          'dotfiles',
          'index',
          'extensions',
          'fallthrough',
          'maxAge',
          'setHeaders',
          'redirect',
        ].map(name => [name, undefined]),
      ),
      SETTINGS,
    )
    const { get } = await listening(t, (req, res) => serve(root, req, res, () => res.end(NEXT)))
    assert.equal((await get('/a/')).body, 'a')
    assert.equal((await get('/a')).status, 301)
    assert.equal((await get('/b')).body, NEXT)
  })

  it('refuses a folder that would expose code or secrets', () => {
    for (const dir of [
      '',
      '.',
      './',
      '..',
      '../x',
      'x/../..',
      'x\\..\\y',
      '/srv/static',
      'C:\\static',
      'c:static',
      'a\0b',
      'app',
      './app/',
      'app/public',
      'node_modules',
      'node_modules/x',
      'x/node_modules',
      'certs',
      'certs/public',
      'tmp',
      'tmp/x',
      '.git',
      '.ssh/x',
      'x/.git',
      'x/.well-known',
    ]) {
      refuses({ dir }, /option 'dir'/)
    }
    refuses({ dir: 'dist' }, /app folder/, { appDir: 'dist/server', modulesDir: 'node_modules' })
    refuses({ dir: 'vendor' }, /packages/, { appDir: 'app', modulesDir: 'vendor/modules' })
    refuses({ dir: 'vendor/modules' }, /packages/, { appDir: 'app', modulesDir: 'vendor/modules' })
    refuses({ dir: 'vendor/modules/x' }, /packages/, { appDir: '.', modulesDir: 'vendor/modules' })
    refuses({ dir: '.' }, /whole vhost/, { appDir: '.', modulesDir: 'node_modules' })
    for (const dir of [
      'public',
      './public/',
      'dist/client',
      'apples',
      'a/tmp',
      '.well-known',
      '.well-known/x',
    ]) {
      documentRoot({ dir }, { appDir: 'dist/server', modulesDir: 'node_modules' })
      documentRoot({ dir }, { appDir: '.', modulesDir: 'node_modules' })
    }
  })
})

function refuses(options: unknown, message = /static\(\)/, settings = SETTINGS): void {
  assert.throws(
    () => documentRoot(options as StaticOptions, settings),
    (error: unknown) => {
      assert.ok(error instanceof TypeError)
      assert.equal((error as NodeJS.ErrnoException).code, 'ERR_VHOST_OPTION')
      assert.match(error.message, message)
      return true
    },
  )
}

interface Answer {
  status: number
  head: string
  body: string
}

interface Client {
  /** Sends the bytes as they are; each code unit is one byte. */
  send: (raw: string) => Promise<Answer>
  ask: (head: string) => Promise<Answer>
  get: (path: string) => Promise<Answer>
}

async function site(
  t: TestContext,
  files: Record<string, string>,
  options?: StaticOptions,
  settings = SETTINGS,
): Promise<Client & { root: string }> {
  const root = await folder(t, files)
  const serve = documentRoot(options, settings)
  const client = await listening(t, (req, res) =>
    serve(root, req, res, error => {
      const { status = 404, stack } = (error ?? {}) as { status?: number; stack?: string }
      res.statusCode = status
      res.end(error === undefined ? NEXT : stack)
    }),
  )
  return { root, ...client }
}

function tagOf({ head }: Answer): string | undefined {
  return /^etag: (.*)\r$/im.exec(head)?.[1]
}

function leadsTo(descriptor: string, path: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`) === path
  } catch {
    return false
  }
}

async function folder(t: TestContext, files: Record<string, string>): Promise<string> {
  const root = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'van-root-')))
  t.after(() => fs.rm(root, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) {
    const file = join(root, name)
    if (!existsSync(dirname(file))) await fs.mkdir(dirname(file), { recursive: true })
    await fs.writeFile(file, content)
  }
  return root
}

async function listening(t: TestContext, listener: RequestListener): Promise<Client> {
  const server = createServer(listener)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const ask = (head: string) => send(`${head}\r\nHost: aries.test\r\nConnection: close\r\n\r\n`)
  return { send, ask, get: path => ask(`GET ${path} HTTP/1.1`) }

  function send(raw: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(raw, 'latin1'))
      let text = ''
      socket.setEncoding('latin1')
      socket.on('error', reject)
      socket.on('data', chunk => {
        text += chunk
      })
      socket.on('end', () => {
        const [head = '', ...body] = text.split('\r\n\r\n')
        resolve({ status: Number(head.split(' ')[1]), head: `${head}\r\n`, body: body.join('\r\n\r\n') })
      })
    })
  }
}
