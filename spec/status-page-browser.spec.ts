import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import type { RequestHandler } from 'express'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import type { AppStats, VhostStats } from '../lib/index.ts'
import { statusPage } from '../lib/status-page.ts'
import { launchChromium, withoutChromium } from './support/chromium.ts'
import { eventually, World } from './support/world.ts'

// Chromium takes every name below `localhost` for the loopback address.
const HOST = 'status.localhost'
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

describe('the status page in Chromium', { skip: withoutChromium }, () => {
  let browser: Browser

  before(async () => {
    browser = await launchChromium()
  })

  after(async () => {
    await browser?.close()
  })

  it('follows what happens without a page load: a first request, a flip, a broken deploy, its repair', async () => {
    await using world = await serve({ updateInterval: 20 })
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.getByText('0 rows').waitFor()
    world.site('releases/1', 'one')
    world.link('aries.test', world.path('releases/1'))
    await world.get('aries.test')
    const row = page.locator('#vhosts tbody tr:has(button.name:text-is("aries.test"))')
    await row.getByText('serving', { exact: true }).waitFor()
    await row.getByText('releases/1').waitFor()
    world.site('releases/2', 'two')
    world.link('aries.test', world.path('releases/2'))
    await row.getByText('releases/2').waitFor()
    world.write('releases/3/app/index.js', 'throw new Error("<img src=x onerror=alert(1)>")')
    world.link('aries.test', world.path('releases/3'))
    await row.getByText('serving older: refused: Error: <img src=x onerror=alert(1)>').waitFor()
    await page.getByRole('button', { name: 'aries.test' }).click()
    await page.getByRole('region', { name: 'Stack of the last error' }).getByText('index.js:1').waitFor()
    await eventually(async () => assert.equal(await page.title(), '(1) Sites & more'))
    assert.equal(await page.locator('img').count(), 0)
    world.site('releases/3', 'three')
    await row.getByText('serving', { exact: true }).waitFor()
    await row.getByText('releases/3').waitFor()
    assert.deepEqual((await page.locator('#deploys > li').allInnerTexts()).map(whatHappened), [
      'reloaded',
      'refused',
      'reloaded',
      'loaded',
    ])
    const points = row.locator('polyline')
    await eventually(async () => assert.match((await points.getAttribute('points')) ?? '', /^\d+/))
  })

  it('shows what is broken first, the reason in its row, and its deploys by the same filter', async () => {
    await using world = await serve({ getVersion: () => 1 })
    for (const name of ['aries.test', 'taurus.test']) {
      world.site(name, name)
      await world.get(name)
    }
    world.link('www.taurus.test', 'taurus.test')
    await world.get('www.taurus.test')
    world.write('virgo.test/app/index.js', 'throw new Error("no database")')
    await world.get('virgo.test')
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.getByText('3 rows').waitFor()
    assert.deepEqual(await names(page), ['virgo.test', 'aries.test', 'taurus.test +1'])
    const row = page.locator('#vhosts tbody tr').first()
    await row.getByText('failed: Error: no database').waitFor()
    await row.getByText('< 1 min').waitFor()
    await page.getByLabel('Filter').fill('DATABASE')
    assert.deepEqual(await names(page), ['virgo.test'])
    await page.getByText('1 of 3', { exact: true }).waitFor()
    const deploys = page.locator('#deploys > li:visible')
    assert.match(
      (await deploys.allInnerTexts()).join('|'),
      /^\S+ \S+\s+refused\s+virgo\.test\s+Error: no database; nothing/,
    )
    await page.getByLabel('Filter').fill('www.taurus')
    assert.deepEqual(await names(page), ['taurus.test +1'])
    await page.getByLabel('Filter').fill('nobody')
    await page.getByText('Nothing matches.').waitFor()
    await page.getByLabel('Filter').fill('')
    await page.getByRole('button', { name: 'virgo.test' }).click()
    await page.getByText(`${world.path('virgo.test')} was refused at`).waitFor()
    await page.getByRole('button', { name: 'Why', exact: true }).click()
    await page.locator('#steps').getByText('500 Internal Server Error').waitFor()
  })

  it('shows what loads, what drains and what was evicted', async () => {
    await using world = await serve({ idleTimeout: 300 })
    world.write(
      'aries.test/app/index.js',
      `module.exports = new Promise(resolve => process.once('spec:go', () => resolve((req, res) => {
        if (req.url === '/hang') process.once('spec:end', () => res.end('ended'))
        res.write('begun ')
        if (req.url !== '/hang') res.end()
      })))`,
    )
    await using opened = await open(browser, world.port)
    const { page } = opened
    const stateOf = (name: string, state: string) =>
      page
        .locator(`#vhosts tbody tr:has(button.name:text-is("${name}")) td.state:text-is("${state}")`)
        .waitFor()
    const hanging = world.body('aries.test', '/hang')
    await stateOf('aries.test', 'loading')
    process.emit('spec:go' as never)
    await stateOf('aries.test', 'serving')
    const reloaded = world.vhosts.reload('aries.test')
    await eventually(() => process.emit('spec:go' as never))
    await reloaded
    await stateOf(world.path('aries.test'), 'draining')
    await stateOf('aries.test', 'serving')
    process.emit('spec:end' as never)
    assert.equal(await hanging, 'begun ended')
    await stateOf('aries.test', 'evicted: idle')
    await page.getByText('1 row', { exact: true }).waitFor()
  })

  it('shows a release that loads beside the one that serves in a line of its own, and leaves the others in place', async () => {
    await using world = await serve({ updateInterval: 20 })
    world.site('releases/1', 'one')
    world.link('aries.test', world.path('releases/1'))
    world.site('leo.test', 'leo')
    for (const name of ['aries.test', 'leo.test']) await world.get(name)
    world.write(
      'releases/2/app/index.js',
      `module.exports = new Promise(resolve => process.once('spec:go', () => resolve((req, res) => res.end('two'))))`,
    )
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.getByText('2 rows').waitFor()
    const name = page.getByRole('button', { name: 'aries.test' })
    await name.click()
    await name.focus()
    world.link('aries.test', world.path('releases/2'))
    await page.getByText('3 rows').waitFor()
    assert.deepEqual(await page.locator('#vhosts td.state').allInnerTexts(), [
      'loading',
      'serving',
      'serving',
    ])
    assert.deepEqual(await names(page), ['aries.test', 'aries.test', 'leo.test'])
    assert.equal(await page.locator('#vhosts .details').count(), 1)
    process.emit('spec:go' as never)
    await page.getByText('2 rows').waitFor()
    assert.deepEqual(await names(page), ['aries.test', 'leo.test'])
    assert.equal(await page.locator('#vhosts .details').getByText(world.path('releases/2')).count(), 1)
    await page.locator('#vhosts .name:focus').waitFor()
  })

  it('keeps its columns however long a name, a path and an error are', async () => {
    await using world = await serve()
    const long = [...'abc']
      .map(letter => letter.repeat(63))
      .join('.')
      .concat('.', 'd'.repeat(61))
    world.write(`${long}/app/index.js`, `throw new Error('x'.repeat(5000))`)
    world.site('aries.test', 'one')
    for (const name of [long, 'aries.test']) await world.get(name)
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.getByText('2 rows').waitFor()
    await page.locator('#vhosts .name').first().click()
    await page.getByRole('button', { name: 'Why', exact: true }).click()
    await page.locator('#steps').getByText('500 Internal Server Error').waitFor()
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 800 })
      assert.equal(await page.evaluate('document.documentElement.scrollWidth'), width)
      const cell = await page.locator('#vhosts td.state').first().boundingBox()
      assert.ok(cell && cell.x + cell.width <= width, `the state ends at ${cell?.x} + ${cell?.width}`)
    }
    await page.setViewportSize({ width: 1280, height: 800 })
    const overflow =
      '(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector(".scroll"))'
    assert.equal(await page.evaluate(overflow), 0)
  })

  it('shows each deploy in short, and opens what is cut', async () => {
    await using world = await serve()
    const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`
    world.write(`${long}/app/index.js`, `throw new Error('x'.repeat(3000) + 'end')`)
    world.write('aries.test/app/index.js', `throw 'y '.repeat(1500) + 'end'`)
    for (const name of [long, 'aries.test']) await world.get(name)
    await using opened = await open(browser, world.port)
    const { page } = opened
    const deploys = page.locator('#deploys > li')
    await deploys.nth(1).waitFor()
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 800 })
      const tall = (
        await deploys.evaluateAll(els => els.map(el => el.getBoundingClientRect().height))
      ).filter(height => height > 150)
      assert.deepEqual(tall, [], `${width}`)
    }
    for (const summary of await page.locator('#deploys summary').all()) await summary.click()
    for (const name of ['Stack', 'Cause']) {
      assert.match(String(await page.getByRole('region', { name, exact: true }).textContent()), /end/)
    }
  })

  it('prints all of it, as wide as the paper, and no controls', async () => {
    await using world = await serve({ maxApps: 200, getVersion: () => 1 })
    world.write('bad.test/app/index.js', `throw new Error('x'.repeat(3000))`)
    await world.get('bad.test')
    for (let i = 0; i < 40; i++) {
      world.site(`site-${i}.test`, `${i}`)
      await world.get(`site-${i}.test`)
    }
    await using opened = await open(browser, world.port, { colorScheme: 'dark' })
    const { page } = opened
    await page.getByText('41 rows').waitFor()
    await page.getByRole('button', { name: 'bad.test' }).click()
    const shades = ['rgb(20, 23, 26)', 'rgb(246, 247, 248)']
    const background = 'getComputedStyle(document.body).backgroundColor'
    assert.equal(await page.evaluate(background), shades[0])
    await page.emulateMedia({ media: 'print' })
    // A4 without its margins.
    await page.setViewportSize({ width: 718, height: 1000 })
    assert.equal(await page.evaluate(background), shades[1])
    for (const selector of ['nav', '#filter', '#why', '#why-title', '.details button']) {
      assert.ok(await page.locator(selector).first().isHidden(), selector)
    }
    assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 718)
    const cut = await page.evaluate(`[...document.querySelectorAll('.scroll, pre')]
      .filter(({ scrollWidth, clientWidth, scrollHeight, clientHeight }) =>
        scrollWidth > clientWidth || scrollHeight > clientHeight)
      .map(({ outerHTML }) => outerHTML.slice(0, 80))`)
    assert.deepEqual(cut, [])
  })

  it('escapes characters that would hide or change the direction of text', async () => {
    await using world = await serve()
    world.write('releases/\u202etxt.1/app/index.js', `throw new Error('no \\u2066data\\u200bbase\\x1b')`)
    world.link('aries.test', world.path('releases/\u202etxt.1'))
    await world.get('aries.test')
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.getByRole('button', { name: 'aries.test' }).click()
    const cause = String.raw`Error: no \u{2066}data\u{200b}base\u{1b}`
    await page.locator('#vhosts').getByText(`failed: ${cause}`, { exact: true }).waitFor()
    await page.locator('#deploys').getByText(`${cause}; nothing serves`).waitFor()
    await page.getByText(`${world.path('releases/')}\\u{202e}txt.1 was refused at`).waitFor()
    assert.equal(await page.locator('[title*="\u202e"], [title*="\u2066"]').count(), 0)
    assert.doesNotMatch(String(await page.locator('main').textContent()), /\p{Cf}/u)
  })

  it('explains a host, also a hostile one', async () => {
    await using world = await serve()
    world.site('aries.test', 'one')
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.getByRole('textbox', { name: 'Host' }).fill('Aries.Test:80')
    await page.getByRole('button', { name: 'Explain' }).click()
    await page.locator('#steps').getByText(world.path('aries.test/app/index.js')).waitFor()
    await page.getByRole('textbox', { name: 'Host' }).fill('<script>alert(1)</script>')
    await page.keyboard.press('Enter')
    await page.locator('#steps').getByText('refused: a character is not one of').waitFor()
    assert.equal(await page.locator('#steps script').count(), 0)
  })

  it('explains the host asked for last, even if its answer comes first', async () => {
    let answer = (): void => {}
    const slow = new Promise<void>(resolve => {
      answer = resolve
    })
    await using world = await serve({
      getVhostPath: async host => {
        if (host === 'slow.test') await slow
        return world.path(host)
      },
    })
    await using opened = await open(browser, world.port)
    const { page } = opened
    const ask = async (host: string): Promise<void> => {
      await page.getByRole('textbox', { name: 'Host' }).fill(host)
      await page.keyboard.press('Enter')
    }
    await ask('slow.test')
    await ask('fast.test')
    await page.locator('#steps').getByText('fast.test').first().waitFor()
    const answered = page.waitForResponse(/why\?host=slow/)
    answer()
    await (await answered).finished()
    assert.equal(await page.locator('#steps').getByText('slow.test').count(), 0)
    assert.ok((await page.locator('#steps').getByText('fast.test').count()) > 0)
  })

  it('can be used by keyboard alone: filter, sort, open, reload', async () => {
    await using world = await serve()
    for (const name of ['aries', 'taurus', 'gemini']) {
      world.site(`${name}.test`, name)
      await world.get(`${name}.test`)
    }
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.getByText('3 rows').waitFor()
    const { keyboard } = page
    await keyboard.press('/')
    assert.equal(await page.evaluate('document.activeElement.id'), '')
    await keyboard.press('Control+/')
    await keyboard.type('gem')
    await page.getByText('1 of 3 rows').waitFor()
    await tabTo(page, 'gemini.test')
    await keyboard.press('Enter')
    await page.getByRole('button', { name: 'gemini.test', expanded: true }).waitFor()
    await tabTo(page, 'Reload')
    await keyboard.press('Enter')
    await page.getByText(/^reloaded in \d+ ms$/).waitFor()
    assert.deepEqual(
      world.events('reload').map(({ hostnames }) => hostnames),
      [['gemini.test']],
    )
    // The row was replaced by that of the new release, together with its details.
    await eventually(async () => assert.equal(await focused(page), 'Reload'))
    await page.getByRole('button', { name: 'gemini.test' }).focus()
    await world.vhosts.reload('gemini.test')
    await eventually(async () =>
      assert.equal(await page.locator('#deploys').getByText('reloaded').count(), 2),
    )
    assert.equal(await focused(page), 'gemini.test')
    await keyboard.press('Control+/')
    await keyboard.press('Control+A')
    await keyboard.press('Delete')
    await page.getByText('3 rows').waitFor()
    await tabTo(page, 'host')
    await keyboard.press('Enter')
    assert.deepEqual(await names(page), ['aries.test', 'gemini.test', 'taurus.test'])
    await keyboard.press('Enter')
    assert.deepEqual(await names(page), ['taurus.test', 'gemini.test', 'aries.test'])
    assert.equal(await focused(page), 'host')
  })

  it('makes a screen reader announce what the user has filtered, but not each load', async () => {
    await using world = await serve()
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.getByText('0 rows').waitFor()
    await page.evaluate(`
      globalThis.said = []
      new MutationObserver(changes => {
        for (const { target } of changes) {
          const live = target.closest('[aria-live], [role=status]')
          if (live && live.ariaLive !== 'off') said.push(live.textContent)
        }
      }).observe(document.body, { childList: true, subtree: true })`)
    for (const name of ['aries.test', 'taurus.test']) {
      world.site(name, name)
      await world.get(name)
    }
    await page.getByText('2 rows').waitFor()
    assert.deepEqual(await page.evaluate('said'), [])
    await page.getByLabel('Filter').fill('aries')
    assert.deepEqual(await page.evaluate('said'), ['1 of 2 rows'])
  })

  it('leaves the focus where it is: at the last page, and when a reload ends after the user has moved on', async () => {
    await using world = await serve({ maxApps: 200, getVersion: () => 1 })
    for (let i = 100; i < 160; i++) {
      world.site(`site-${i}.test`, `${i}`)
      await world.get(`site-${i}.test`)
    }
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.getByText('60 rows, page 1 of 2').waitFor()
    await page.getByRole('button', { name: 'Next' }).focus()
    await page.keyboard.press('Enter')
    await page.getByText('60 rows, page 2 of 2').waitFor()
    assert.equal(await focused(page), 'Next')
    await page.keyboard.press('Enter')
    assert.deepEqual((await names(page)).length, 10)
    assert.equal(await page.getByRole('button', { name: 'Next' }).getAttribute('aria-disabled'), 'true')
    world.write(
      'site-150.test/app/index.js',
      `module.exports = new Promise(resolve => process.once('spec:go', () => resolve((req, res) => res.end())))`,
    )
    await page.getByRole('button', { name: 'site-150.test' }).click()
    await page.getByRole('button', { name: 'Reload' }).click()
    await page.getByText('reloading').waitFor()
    await page.getByLabel('Filter').focus()
    await eventually(() => process.emit('spec:go' as never))
    await page.getByText(/^reloaded in \d+ ms$/).waitFor()
    assert.equal(await page.evaluate('document.activeElement.id'), 'filter')
  })

  it('keeps the focus at the table when the focused row goes', async () => {
    await using world = await serve()
    for (const name of ['aries.test', 'taurus.test']) {
      world.site(name, name)
      await world.get(name)
    }
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.getByText('2 rows').waitFor()
    await page.getByLabel('Filter').fill('serving')
    await page.getByRole('button', { name: 'taurus.test' }).focus()
    world.remove('taurus.test')
    await page.getByText('1 of 2 rows').waitFor()
    assert.equal(await page.evaluate('document.activeElement.ariaLabel'), 'Table of vhosts')
  })

  it('keeps opened deploys open when it reconnects, and refusals among many loads', async () => {
    await using world = await serve({ maxApps: 300, getVersion: () => 1 })
    world.write('bad.test/app/index.js', 'throw new Error("boom")')
    await world.get('bad.test')
    await using opened = await open(browser, world.port, {}, { mayFail: true })
    const { page } = opened
    const summary = page.locator('#deploys summary')
    await summary.click()
    await page.getByRole('region', { name: 'Stack', exact: true }).waitFor()
    await page.getByText('live', { exact: true }).waitFor()
    world.site('site.test', 'one')
    const connected = page.waitForRequest(/\/events$/)
    world.server.closeAllConnections()
    await connected
    await world.get('site.test')
    await page.locator('#deploys').getByText('site.test').first().waitFor()
    assert.equal(await page.locator('#deploys details').getAttribute('open'), '')
    assert.equal(await page.evaluate('document.activeElement.tagName'), 'SUMMARY')
    for (let i = 0; i < 210; i++) {
      world.site(`site-${i}.test`, 'one')
      await world.vhosts.load(`site-${i}.test`)
    }
    await page.locator('#deploys').getByText('site-209.test').first().waitFor()
    assert.equal(await page.locator('#deploys > li').count(), 200)
    assert.equal(await page.locator('#deploys details').getAttribute('open'), '')
  })

  it('filters and sorts 5,000 rows while the user looks on', async t => {
    await using server = await serveRows(5000)
    await using opened = await open(browser, server.port)
    const { page } = opened
    await page.getByText('5000 rows, page 1 of 100').waitFor()
    const slowest = (await page.evaluate(`(async () => {
      const times = []
      const shown = async act => {
        const start = performance.now()
        act()
        await new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)))
        times.push(performance.now() - start)
      }
      const filter = document.getElementById('filter')
      for (const text of ['4', '49', '499', 'failed', '']) {
        await shown(() => { filter.value = text; filter.dispatchEvent(new Event('input')) })
      }
      for (const button of document.querySelectorAll('#vhosts thead button')) await shown(() => button.click())
      return Math.max(...times)
    })()`)) as number
    t.diagnostic(`the slowest of 17: ${slowest.toFixed(0)} ms`)
    // The aim is 100 ms; beyond this limit it is a decay, whatever else the machine does.
    assert.ok(slowest < 1000, `${slowest} ms`)
    await page.getByLabel('Filter').fill('site-0499')
    assert.deepEqual(await names(page), ['site-0499.test'])
    await page.getByLabel('Filter').fill('')
    await page.getByRole('button', { name: 'requests' }).click()
    assert.equal((await names(page))[0], 'site-4999.test')
    await page.getByRole('button', { name: 'Next' }).click()
    assert.equal((await names(page))[0], 'site-4949.test')
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`has nothing that axe objects to, ${colorScheme}, wide and at 360 pixels`, async () => {
      await using world = await serve()
      world.site('aries.test', 'one')
      world.write('bad.test/app/index.js', 'throw new Error("boom")')
      for (const name of ['aries.test', 'bad.test']) await world.get(name)
      await using opened = await open(browser, world.port, { colorScheme })
      const { page } = opened
      await page.getByRole('button', { name: 'bad.test' }).click()
      await page.getByRole('textbox', { name: 'Host' }).fill('aries.test')
      await page.getByRole('button', { name: 'Explain' }).click()
      await page.locator('#steps').getByText('state', { exact: true }).waitFor()
      await page.evaluate(AXE)
      for (const width of [1200, 360]) {
        await page.setViewportSize({ width, height: 800 })
        assert.equal(await page.evaluate('document.documentElement.scrollWidth'), width)
        const violations = await page.evaluate(
          `axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]))`,
        )
        assert.deepEqual(violations, [])
      }
    })
  }

  it('waits for the server when a proxy says that it is gone, instead of showing that', async () => {
    let isGone = false
    const asked: string[] = []
    await using world = await serveBehind((req, res, next) => {
      asked.push(`${req.method} ${req.url}`)
      if (isGone) res.status(502).send('Bad Gateway')
      else next()
    })
    world.site('aries.test', 'one')
    await world.get('aries.test')
    await using opened = await open(browser, world.port, {}, { mayFail: true })
    const { page } = opened
    await page.clock.install()
    await page.reload()
    await page.getByText('1 row').waitFor()
    isGone = true
    asked.length = 0
    world.server.closeAllConnections()
    await eventually(() => assert.ok(asked.includes('GET /events')))
    await eventually(async () => {
      await page.clock.fastForward(10_000)
      assert.ok(asked.filter(request => request === 'HEAD /events').length >= 2)
    })
    await page.getByText('disconnected: what is shown is old').waitFor()
    await page.getByRole('button', { name: 'aries.test' }).waitFor()
    isGone = false
    await eventually(async () => {
      await page.clock.fastForward(10_000)
      assert.ok(asked.includes('GET /'))
    })
    await page.getByText('live', { exact: true }).waitFor()
  })

  it('says what a proxy answers in place of the server, and when nobody answers', async () => {
    let isRefused = false
    await using world = await serveBehind((_, res, next) => {
      if (isRefused) res.status(403).send('<h1>Sign in</h1>')
      else next()
    })
    world.site('aries.test', 'one')
    await world.get('aries.test')
    await using opened = await open(browser, world.port, {}, { mayFail: true })
    const { page } = opened
    await page.getByRole('button', { name: 'aries.test' }).click()
    isRefused = true
    for (const name of ['Reload', 'Why']) await page.getByRole('button', { name, exact: true }).click()
    for (const place of ['.details', '#steps']) {
      await page.locator(place).getByText('the server answers 403: load the page again').waitFor()
    }
    world.server.close()
    world.server.closeAllConnections()
    for (const name of ['Reload', 'Why']) await page.getByRole('button', { name, exact: true }).click()
    for (const place of ['.details', '#steps']) {
      await page.locator(place).getByText('the server does not answer').waitFor()
    }
  })

  it('is loaded again from a restarted server, so that its reload buttons work there', async () => {
    let start = (): void => {}
    await using world = await World.start({}, (app, vhosts) => {
      let middleware = statusPage(vhosts, { host: HOST, authorize: () => true })
      start = () => {
        middleware = statusPage(vhosts, { host: HOST, authorize: () => true })
      }
      app.use((req, res, next) => middleware(req, res, next))
      app.use(vhosts)
    })
    world.site('aries.test', 'one')
    await world.get('aries.test')
    await using opened = await open(browser, world.port, {}, { mayFail: true })
    const { page } = opened
    await page.getByText('1 row').waitFor()
    start()
    const loaded = page.waitForEvent('load')
    world.server.closeAllConnections()
    await loaded
    await page.getByRole('button', { name: 'aries.test' }).click()
    await page.getByRole('button', { name: 'Reload' }).click()
    await page.getByText(/^reloaded in \d+ ms$/).waitFor()
  })

  it('waits when the maximum number of pages is open, and loads once there is room', async () => {
    const asked: string[] = []
    await using world = await serveBehind((req, _, next) => {
      asked.push(`${req.method} ${req.url}`)
      next()
    })
    const others: http.IncomingMessage[] = []
    for (let i = 0; i < 50; i++) {
      const request = http.get({ port: world.port, path: '/events', agent: false, headers: { host: HOST } })
      others.push((await once(request, 'response'))[0])
    }
    await using opened = await open(browser, world.port, {}, { mayFail: true })
    const { page } = opened
    await page.clock.install()
    await page.reload()
    asked.length = 0
    await eventually(async () => {
      await page.clock.fastForward(10_000)
      assert.ok(asked.filter(request => request.startsWith('HEAD ')).length >= 3)
    })
    assert.ok(!asked.includes('GET /'))
    for (const other of others) other.destroy()
    await eventually(async () => {
      await page.clock.fastForward(10_000)
      assert.ok(asked.includes('GET /'))
    })
    await page.getByText('live', { exact: true }).waitFor()
  })

  it('says that what it shows is old when the server is gone', async () => {
    await using world = await serve()
    await using opened = await open(browser, world.port, {}, { mayFail: true })
    const { page } = opened
    await page.clock.install()
    await page.reload()
    await page.getByText('live', { exact: true }).waitFor()
    world.server.close()
    world.server.closeAllConnections()
    await untilOld(page)
  })

  it('says that what it shows is old when the server is there but sends nothing', async () => {
    let isSilent = false
    await using world = await serveBehind((_, res, next) => {
      const { write } = res
      res.write = ((...args: Parameters<typeof write>) => isSilent || write.apply(res, args)) as typeof write
      next()
    })
    await using opened = await open(browser, world.port)
    const { page } = opened
    await page.clock.install()
    await page.reload()
    await page.getByText('live', { exact: true }).waitFor()
    isSilent = true
    await untilOld(page)
    isSilent = false
    await page.getByText('live', { exact: true }).waitFor()
  })

  it('says nothing when one stream ends and the next begins, as happens every quarter of an hour', async () => {
    await using world = await serve()
    await using opened = await open(browser, world.port, {}, { mayFail: true })
    const { page } = opened
    await page.getByText('live', { exact: true }).waitFor()
    await page.evaluate(`
      globalThis.said = []
      const connection = document.getElementById('connection')
      new MutationObserver(() => said.push(connection.textContent)).observe(connection, { childList: true })`)
    const connected = page.waitForRequest(/\/events$/)
    world.server.closeAllConnections()
    await connected
    world.site('aries.test', 'one')
    await world.get('aries.test')
    await page.getByText('1 row').waitFor()
    assert.deepEqual(await page.evaluate('said'), [])
  })
})

/** Serves behind a middleware that acts as a proxy. */
function serveBehind(proxy: RequestHandler): Promise<World> {
  return World.start({}, (app, vhosts) => {
    app.use(proxy)
    app.use(statusPage(vhosts, { host: HOST, authorize: () => true }))
    app.use(vhosts)
  })
}

async function serve(options: ConstructorParameters<typeof World>[0] = {}): Promise<World> {
  return await World.start(options, (app, vhosts) => {
    app.use(statusPage(vhosts, { host: HOST, authorize: () => true, title: 'Sites & more' }))
    app.use(vhosts)
  })
}

/** Opens a page; when it closes, it tells what the browser complained of and which other hosts the page asked. */
async function open(
  browser: Browser,
  port: number,
  options: BrowserContextOptions = {},
  { mayFail = false } = {},
): Promise<AsyncDisposable & { page: Page }> {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  page.setDefaultTimeout(10_000)
  const origin = `http://${HOST}:${port}`
  const complaints: string[] = []
  page.on('console', message => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', error => complaints.push(String(error)))
  page.on('dialog', dialog => complaints.push(`dialog: ${dialog.message()}`))
  page.on('request', request => {
    const { protocol, origin: asked } = new URL(request.url())
    if (protocol !== 'data:' && asked !== origin) complaints.push(`asked ${request.url()}`)
  })
  await page.goto(`${origin}/`)
  return {
    page,
    async [Symbol.asyncDispose]() {
      await context.close()
      if (!mayFail) assert.deepEqual(complaints, [])
    },
  }
}

/** Serves the page over a router with this many vhosts. */
async function serveRows(count: number): Promise<AsyncDisposable & { port: number }> {
  const vhosts = Array.from({ length: count }, (_, i) => rowOf(i))
  const totals = {
    apps: count,
    draining: 0,
    failed: 0,
    hostnames: count,
    requests: 0,
    inFlight: 0,
    errors: 0,
  }
  const stats: VhostStats = { vhosts, totals, staleGraphs: 0, isClosed: false }
  const many = {
    stats: () => stats,
    on: () => many,
    reserve: () => {},
    why: () => Promise.reject(new Error('not asked')),
    reload: () => Promise.reject(new Error('not asked')),
  }
  const page = statusPage(many as unknown as Parameters<typeof statusPage>[0], {
    host: HOST,
    authorize: () => true,
  })
  const server = http.createServer((req, res) => page(req, res, () => res.end())).listen(0)
  await new Promise(resolve => server.once('listening', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function rowOf(i: number): AppStats {
  const name = `site-${String(i).padStart(4, '0')}.test`
  return {
    hostnames: [name],
    realPath: `/srv/releases/${name}/${i}`,
    version: i,
    isolation: 'none',
    state: i % 50 === 0 ? 'draining' : 'serving',
    requests: i,
    inFlight: 0,
    errors: 0,
    loadDurationMs: (i * 7919) % 1000,
    loadedAt: new Date(1.7e12 + i).toISOString(),
    pid: null,
    threadId: null,
    memory: null,
    cpu: null,
    restarts: 0,
    lastExit: null,
    lastError: null,
  }
}

/** Advances the page's clock until the page says that what it shows is old. */
async function untilOld(page: Page): Promise<void> {
  await eventually(async () => {
    await page.clock.fastForward(10_000)
    assert.equal(await page.locator('#connection').textContent(), 'disconnected: what is shown is old')
  })
}

async function tabTo(page: Page, name: string): Promise<void> {
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab')
    if ((await focused(page)) === name) return
  }
  assert.fail(`no Tab led to ${name}`)
}

async function focused(page: Page): Promise<string> {
  return await page.evaluate('document.activeElement.textContent')
}

async function names(page: Page): Promise<string[]> {
  return await page.locator('#vhosts .name').allInnerTexts()
}

function whatHappened(text: string): string | undefined {
  return /\b(loaded|reloaded|refused)\b/.exec(text)?.[0]
}
