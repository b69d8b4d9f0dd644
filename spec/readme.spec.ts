import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { resolveOptions } from '../lib/options.ts'

const readme = readFileSync('README.md', 'utf8')

describe('README', () => {
  it('has a quick start that answers as it says', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'express-van-readme-'))
    const [, code = ''] = /```js\n(.*?)```/s.exec(readme) ?? []
    const [, app = ''] = /echo "(.*)" > \S+index\.js/.exec(readme) ?? []
    const [, answer] = /curl -H 'Host: aries\.localhost' \S+ +# (.*)/.exec(readme) ?? []
    assert.match(code, /'\/var\/www'.*listen\(3000\)/s)
    const changed = code.replace("'/var/www'", JSON.stringify(folder)).replace('listen(3000)', 'listen(0)')
    writeFileSync(
      join(folder, 'server.mjs'),
      `${changed}\nserver.on('listening', () => console.log(server.address().port))`,
    )
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(process.cwd(), join(folder, 'node_modules', 'express-van'))
    symlinkSync(join(process.cwd(), 'node_modules', 'express'), join(folder, 'node_modules', 'express'))
    mkdirSync(join(folder, 'aries.localhost', 'app'), { recursive: true })
    writeFileSync(join(folder, 'aries.localhost', 'app', 'index.js'), app)
    const child = spawn(process.execPath, ['server.mjs'], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const [port] = (await once(child.stdout, 'data')) as [Buffer]
      const request = http.get({ port: Number(port), headers: { host: 'aries.localhost' }, agent: false })
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      assert.equal(await text(response), answer)
    } finally {
      child.kill()
      rmSync(folder, { recursive: true })
    }
  })

  it('names every option and its default', () => {
    const rows = new Map(
      [...readme.matchAll(/^\| `(\w+)(?:\([^)]*\))?` \| (.*?) \|/gm)].map(([, name, value]) => [name, value]),
    )
    const settings: Record<string, unknown> = { ...resolveOptions() }
    for (const name of [
      'updateInterval',
      'watch',
      'isolation',
      'maxApps',
      'idleTimeout',
      'loadTimeout',
      'drainTimeout',
      'requestTimeout',
      'heartbeatTimeout',
      'maxConcurrentLoads',
      'basePath',
      'appDir',
      'modulesDir',
    ]) {
      const [, shown = ''] = /^`(.*)`$/.exec(rows.get(name) ?? '') ?? []
      const value = shown.startsWith("'") ? shown.slice(1, -1) : JSON.parse(shown.replaceAll('_', ''))
      assert.equal(value, settings[name], name)
    }
  })

  it('has a row for every error code', () => {
    const source = readFileSync('lib/errors.ts', 'utf8')
    for (const [code] of source.matchAll(/ERR_VHOST_\w+/g))
      assert.match(readme, new RegExp(`^\\| \`${code}\``, 'm'))
  })
})
