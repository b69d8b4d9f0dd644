import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { MemoryCgroups } from '../../lib/launch/memory-cgroup.ts'
import { runChild } from '../support/child.ts'
import { isAlive, socketFolders } from '../support/isolated.ts'
import { eventually, World } from '../support/world.ts'
import { behaves } from './behaves.ts'

describe("isolation: 'process'", () => behaves('process'))

describe("isolation: 'process' alone", () => {
  it('runs in the app folder', async () => {
    await using world = await World.start({ isolation: 'process' })
    world.write('aries.test/app/index.js', 'module.exports = (req, res) => res.end(process.cwd())')
    assert.equal(await world.body('aries.test'), world.path('aries.test/app'))
  })

  it('leaves no process when the router is killed, not even one that spins', {
    timeout: 30_000,
  }, async () => {
    await using world = await World.start()
    world.site('aries.test', 'aries')
    world.write('leo.test/app/index.js', 'module.exports = () => { for (;;); }')
    const child = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `
      import http from 'node:http'
      import { vhostRouter } from '${resolve('.build')}/lib/index.js'
      const vhosts = vhostRouter({ basePath: '${world.path()}', isolation: 'process' })
      await vhosts.load('aries.test'); await vhosts.load('leo.test')
      const server = http.createServer((req, res) => vhosts(req, res, () => res.end()))
      server.listen(0, () => {
        http.get({ port: server.address().port, headers: { host: 'leo.test' } }).on('error', () => {})
        setTimeout(() => console.log(process.pid, vhosts.stats().vhosts.map(({ pid }) => pid).join(' ')), 100)
      })`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const [line] = (await new Promise(done => child.stdout.once('data', data => done([data])))) as [Buffer]
    const [router, ...pids] = String(line).trim().split(' ').map(Number)
    assert.equal(pids.length, 2)
    assert.equal(socketFolders(router).length, 1)
    for (const pid of pids) assert.ok(isAlive(pid))
    child.kill('SIGKILL')
    await eventually(() => pids.every(pid => !isAlive(pid)))
    await eventually(() => socketFolders(router).length === 0)
  })

  it('an app that takes all file descriptors takes only those of its own process', {
    timeout: 60_000,
  }, async () => {
    await using world = await World.start({ isolation: 'process' })
    world.site('leo.test', 'leo')
    world.write(
      'aries.test/app/index.js',
      `const fs = require('fs'); const taken = []
       module.exports = (req, res) => {
         try { for (;;) taken.push(fs.openSync(__filename)) } catch ({ code }) { for (const fd of taken.splice(0)) fs.closeSync(fd); res.end(code) }
       }`,
    )
    world.write('virgo.test/app/index.js', 'module.exports = (req, res) => res.end("virgo")')
    await world.vhosts.load('aries.test')
    const answer = world.body('aries.test')
    assert.equal(await world.body('leo.test'), 'leo')
    assert.equal(await world.body('virgo.test'), 'virgo')
    assert.equal(await answer, 'EMFILE')
  })

  it('is restarted at once even if a process that it had started holds its output open', async () => {
    await using world = await World.start({ isolation: 'process' })
    world.write(
      'aries.test/app/index.js',
      `require('child_process').spawn('sleep', ['5'], { detached: true, stdio: 'inherit' }).unref()
       module.exports = (req, res) => { if (req.url === '/die') process.exit(1); res.end('aries') }`,
    )
    await world.body('aries.test')
    const crashed = world.event('error')
    const start = performance.now()
    assert.equal((await world.get('aries.test', '/die', { method: 'POST' })).status, 502)
    assert.match((await crashed).error.message, /it ended with code 1/)
    const lasted = performance.now() - start
    assert.ok(lasted < 900, `${lasted} ms`)
    assert.equal((await world.get('aries.test', '/', { method: 'POST', body: 'b' })).status, 200)
  })

  it('kills what an app had started together with the app', async () => {
    await using world = await World.start({ isolation: 'process' })
    world.write(
      'aries.test/app/index.js',
      `const { pid } = require('child_process').spawn('sleep', ['600']); module.exports = (req, res) => res.end(String(pid))`,
    )
    const pid = Number(await world.body('aries.test'))
    assert.ok(isAlive(pid))
    await world.vhosts.close()
    await eventually(() => !isAlive(pid))
  })

  const isRoot = process.getuid?.() === 0
  it('a memory limit covers all memory if cgroups may be made', {
    skip: mayMakeCgroups() ? false : 'no cgroup of memory may be made here',
    timeout: 60_000,
  }, async () => {
    await using world = await World.start({ isolation: 'process', memoryLimit: 64 * 2 ** 20 })
    world.write(
      'aries.test/app/index.js',
      `module.exports = (req, res) => {
         const all = []
         for (let mebibytes = Number(req.url.slice(1)); mebibytes > 0; mebibytes--) all.push(Buffer.alloc(2 ** 20, 1))
         res.end(String(all.length))
       }`,
    )
    assert.equal(await world.body('aries.test', '/20'), '20')
    assert.equal(cgroupsOf(process.pid).length, 1)
    const evicted = world.event('evict')
    assert.equal((await world.get('aries.test', '/1000', { method: 'POST' })).status, 502)
    assert.equal((await evicted).reason, 'crashed')
    assert.equal(await world.body('aries.test', '/20'), '20')
    assert.match(String(world.vhosts.stats().vhosts[0]?.lastExit?.how), /it was ended by SIGKILL/)
    await world.vhosts.close()
    await eventually(() => cgroupsOf(process.pid).length === 0)
  })

  describe('a process group of its own that an app had started', {
    skip: mayMakeCgroups() ? false : 'no cgroup of memory may be made here',
  }, () => {
    const memoryLimit = 64 * 2 ** 20
    const site = (world: World): void =>
      world.write(
        'aries.test/app/index.js',
        `const { pid } = require('child_process').spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })
         module.exports = (req, res) => res.end(String(pid))`,
      )

    it('ends with the app if both are in a cgroup', async () => {
      await using world = await World.start({ isolation: 'process', memoryLimit })
      site(world)
      const pid = Number(await world.body('aries.test'))
      assert.ok(isAlive(pid))
      await world.vhosts.close()
      await eventually(() => !isAlive(pid))
      await eventually(() => cgroupsOf(process.pid).length === 0)
    })

    it('ends with a router that is killed, while those of another router live on', async () => {
      await using world = await World.start()
      site(world)
      const source = `
        import http from 'node:http'
        import { vhostRouter } from '${resolve('.build')}/lib/index.js'
        const options = { basePath: '${world.path()}', isolation: 'process', memoryLimit: ${memoryLimit} }
        const ask = async vhosts => {
          const server = http.createServer((req, res) => vhosts(req, res, error => res.end(String(error))))
          await new Promise(done => server.listen(0, done))
          const { port } = server.address()
          return await new Promise(done => http.get({ port, headers: { host: 'aries.test' } }, res => res.on('data', data => done(String(data)))))
        }
        const [one, other] = [vhostRouter(options), vhostRouter(options)]
        const pids = [await ask(one), await ask(other)]
        await one.close()
        await new Promise(done => setTimeout(done, 300))
        console.log(pids.join(' '))`
      const router = spawn(process.execPath, ['--input-type=module', '-e', source], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      try {
        const [line] = await once(router.stdout, 'data')
        const pids = String(line).split(' ').map(Number)
        assert.deepEqual(pids.map(isAlive), [false, true])
        assert.equal(cgroupsOf(router.pid).length, 1)
        router.kill('SIGKILL')
        await eventually(() => !pids.some(isAlive))
        await eventually(() => cgroupsOf(router.pid).length === 0)
      } finally {
        router.kill('SIGKILL')
      }
    })
  })

  describe("user: 'owner'", { skip: isRoot ? false : 'needs root' }, () => {
    it('runs each app as the owner of its folder, without the rights of root', async () => {
      await using world = await World.start({ isolation: 'process', user: 'owner' })
      // The owner must be able to reach the folder.
      for (const path of [world.base, world.path()]) chownSync(path, 65_534, 65_534)
      world.write(
        'aries.test/app/index.js',
        `const fs = require('fs'); let denied = ''
         try { fs.writeFileSync('/root/express-van', '') } catch ({ code }) { denied = code }
         try { process.setuid(0) } catch ({ code }) { denied += ' ' + code }
         const sockets = fs.readdirSync(require('os').tmpdir()).find(name => name.startsWith('express-van-' + process.ppid + '-'))
         try { fs.readdirSync(require('path').join(require('os').tmpdir(), sockets)) } catch ({ code }) { denied += ' ' + code }
         module.exports = (req, res) => res.end(JSON.stringify([process.getuid(), process.getgid(), process.getgroups(), denied, process.env.HOME !== '/root']))`,
      )
      chownTree(world.path('aries.test'), 65_534)
      assert.deepEqual(JSON.parse(await world.body('aries.test')), [
        65_534,
        65_534,
        [65_534],
        'EACCES EPERM EACCES',
        true,
      ])
    })

    it('has the home and the name of the owner, unless `env` says otherwise', async () => {
      const users = readFileSync('/etc/passwd', 'utf8').split('\n')
      const fields = users.map(line => line.split(':')).find(([, , uid]) => uid === '65534') ?? []
      const [username, , , , , homedir] = fields
      for (const [env, told] of [
        [{}, [homedir, username, username]],
        [{ HOME: '/srv', USER: 'aries' }, ['/srv', 'aries', username]],
      ] as const) {
        await using world = await World.start({ isolation: 'process', user: 'owner', env })
        for (const path of [world.base, world.path()]) chownSync(path, 65_534, 65_534)
        world.write(
          'aries.test/app/index.js',
          `const { HOME, USER, LOGNAME } = process.env
           module.exports = (req, res) => res.end(JSON.stringify([HOME, USER, LOGNAME]))`,
        )
        chownTree(world.path('aries.test'), 65_534)
        assert.deepEqual(JSON.parse(await world.body('aries.test')), told)
      }
    })

    it('leaves each app only the group of its folder, whatever other groups its owner is in', {
      skip: mayMount() ? false : 'nothing may be mounted here',
    }, async () => {
      await using world = new World()
      chmodSync(world.base, 0o755)
      world.write(
        'aries.test/app/index.js',
        'module.exports = (req, res) => res.end(String(process.getgroups()))',
      )
      chownTree(world.path('aries.test'), 65_534)
      const groups = join(world.base, 'group')
      writeFileSync(groups, 'secrets:x:4242:nobody\n')
      const mounted = `mount --bind ${groups} /etc/group && id -G nobody && exec "$@"`
      const { output, errors } = await runChild(
        `
        import http from 'node:http'
        import { vhostRouter } from 'lib/index.js'
        const vhosts = vhostRouter({ basePath: ${JSON.stringify(world.path())}, isolation: 'process', user: 'owner' })
        const server = http.createServer((req, res) => vhosts(req, res, error => res.end(String(error))))
        server.listen(0, async () => {
          const { port } = server.address()
          http.get({ port, headers: { host: 'aries.test' }, agent: false }, async response => {
            console.log(String(await response.toArray()))
            server.close()
            await vhosts.close()
          })
        })
        `,
        { before: ['unshare', '--mount', 'sh', '-c', mounted, 'sh'] },
      )
      assert.equal(output, '65534 4242\n65534\n', errors)
    })

    it('gives nobody the package.json of a folder that was temporarily in the place of his', async () => {
      const release = 'evil.test/releases/1'
      const away = 'evil.test/releases/away'
      await using world = await World.start({
        user: 'owner',
        vhostDir: '%0/current',
        getVersion: () => {
          renameSync(world.path(release), world.path(away))
          symlinkSync(world.path('leo.test'), world.path(release))
          return 1
        },
        // Called once the package.json has been read.
        isolation: () => {
          unlinkSync(world.path(release))
          renameSync(world.path(away), world.path(release))
          return 'process'
        },
      })
      for (const path of [world.base, world.path()]) chmodSync(path, 0o755)
      world.site('leo.test', 'leo')
      world.write('leo.test/package.json', '{"vhost": {"env": {"WORD": "secret"}}}')
      chmodSync(world.path('leo.test/package.json'), 0o600)
      chownTree(world.path('leo.test'), 7702)
      world.write(
        `${release}/app/index.js`,
        `module.exports = (req, res) => res.end(process.getuid() + ' ' + process.env.WORD)`,
      )
      world.link('evil.test/current', 'releases/1')
      chownTree(world.path('evil.test'), 7701)
      lchownSync(world.path('evil.test/current'), 7701, 7701)
      assert.equal(await world.body('evil.test'), '7701 undefined')
    })

    it('refuses a folder that belongs to root', async () => {
      await using world = await World.start({ isolation: 'process', user: 'owner' })
      world.site('aries.test', 'aries')
      assert.equal((await world.get('aries.test')).status, 500)
      assert.match(String((world.errors[0] as Error).message), /belongs to root/)
    })

    it('serves nothing of one user through a link of another, neither app nor documents', async () => {
      await using world = await World.start(
        { isolation: 'process', user: 'owner', vhostDir: ['%0/current', '%0'] },
        (app, vhosts) => app.use(vhosts.static()).use(vhosts),
      )
      for (const path of [world.base, world.path()]) chmodSync(path, 0o755)
      world.write('../home/staging/app/index.js', `module.exports = (req, res) => res.end('private')`)
      world.write('../home/staging/static/page.txt', 'private')
      chownTree(world.path('../home'), 7702)
      chmodSync(world.path('../home'), 0o755)
      for (const [host, uid] of [
        ['evil.test', 7701],
        ['own.test', 7702],
      ] as const) {
        world.link(`${host}/current`, '../../home/staging')
        for (const path of [host, `${host}/current`]) lchownSync(world.path(path), uid, uid)
      }
      for (const path of ['/page.txt', '/']) {
        assert.equal((await world.get('evil.test', path)).status, 404)
        assert.equal(await world.body('own.test', path), 'private')
      }
      const { error } = await world.vhosts.why('evil.test')
      assert.match(String(error?.cause), /EACCES: a link and its target belong to different users/)
    })

    it('gives nobody what is in the package.json of somebody else', async () => {
      await using world = await World.start({ isolation: 'process', user: 'owner' })
      chmodSync(world.base, 0o755)
      const app = `module.exports = (req, res) => res.end('' + process.env.WORD)`
      for (const name of ['aries', 'leo']) world.write(`${name}.test/app/index.js`, app)
      world.write('leo.test/package.json', '{"vhost": {"env": {"WORD": "secret"}}}')
      chmodSync(world.path('leo.test/package.json'), 0o600)
      chownTree(world.path('leo.test'), 65_533)
      symlinkSync('../leo.test/package.json', world.path('aries.test/package.json'))
      chownTree(world.path('aries.test/app'), 65_534)
      chownSync(world.path('aries.test'), 65_534, 65_534)
      assert.match(
        String((await world.vhosts.why('aries.test')).error?.message),
        /its package\.json belongs to somebody else/,
      )
      assert.equal((await world.get('aries.test')).status, 500)
      assert.match(String((world.errors[0] as Error).message), /belongs to somebody else/)
      assert.equal(await world.body('leo.test'), 'secret')
      unlinkSync(world.path('aries.test/package.json'))
      world.write('aries.test/package.json', '{"vhost": {"env": {"WORD": "by root"}}}')
      await eventually(async () => assert.equal(await world.body('aries.test'), 'by root'))
    })

    it('refuses a vhost that would not run as a process', async () => {
      await using world = await World.start({ isolation: () => 'thread', user: 'owner' })
      world.site('aries.test', 'aries')
      assert.equal((await world.get('aries.test')).status, 500)
      assert.match(String((world.errors[0] as Error).message), /needs isolation 'process'/)
    })
  })
})

function chownTree(folder: string, id: number): void {
  for (const entry of ['', ...readdirSync(folder, { recursive: true }).map(String)])
    chownSync(join(folder, entry), id, id)
}

function mayMount(): boolean {
  const mounting = 'mount --bind /etc/group /etc/group && id -u nobody'
  return spawnSync('unshare', ['--mount', 'sh', '-c', mounting]).stdout?.toString() === '65534\n'
}

function mayMakeCgroups(): boolean {
  const { prefix } = new MemoryCgroups()
  try {
    mkdirSync(`${prefix}spec`)
    rmdirSync(`${prefix}spec`)
    return prefix !== ''
  } catch {
    return false
  }
}

function cgroupsOf(router: number | undefined): string[] {
  const name = `express-van-${router}-`
  return readdirSync(dirname(new MemoryCgroups().prefix)).filter(other => other.startsWith(name))
}
