import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Browser } from 'playwright-core'
import { errorPage } from '../lib/error-page.ts'
import { launchChromium, withoutChromium } from './support/chromium.ts'
import { World } from './support/world.ts'

describe('errorPage() in Chromium', { skip: withoutChromium }, () => {
  let browser: Browser

  before(async () => {
    browser = await launchChromium()
  })

  after(async () => {
    await browser?.close()
  })

  it('marks the line in question, with its number, and runs nothing that the app provided', async () => {
    await using world = await World.start({}, (app, vhosts) => {
      app.use(vhosts)
      app.use(errorPage({ show: true }))
    })
    const lines = Array.from(
      { length: 40 },
      (_, i) => `// line ${i + 1} </script><img src=x onerror=alert(1)>`,
    )
    lines[29] = 'throw new Error("<img src=x onerror=alert(2)>")'
    // Chromium takes every name below `localhost` for the loopback address.
    world.write('aries.localhost/app/index.js', lines.join('\n'))
    const page = await browser.newPage()
    const complaints: string[] = []
    page.on('console', message => complaints.push(message.text()))
    page.on('pageerror', error => complaints.push(String(error)))
    page.on('dialog', dialog => complaints.push(`dialog: ${dialog.message()}`))
    const answer = await page.goto(`http://aries.localhost:${world.port}/`)
    assert.equal(answer?.status(), 500)
    await page.getByText('<img src=x onerror=alert(2)>').first().waitFor()
    const marked = (await page.evaluate(`(() => {
      const middleOf = element => { const { top, height } = element.getBoundingClientRect(); return top + height / 2 }
      const code = [...document.querySelectorAll('.shj-numbers')].find(({ offsetHeight }) => offsetHeight > 0)
      const mark = middleOf([...document.querySelectorAll('.line-highlight')].find(({ offsetHeight }) => offsetHeight > 0))
      const at = [...code.children].findIndex(number => Math.abs(middleOf(number) - mark) < number.offsetHeight / 2)
      return { at, before: getComputedStyle(code).counterSet }
    })()`)) as { at: number; before: string }
    assert.deepEqual([marked.at + 1 + Number(marked.before.split(' ')[1])], [30])
    assert.equal(await page.locator('img').count(), 0)
    assert.deepEqual(
      complaints.filter(text => !text.includes('500 (Internal Server Error)')),
      [],
    )
    await page.close()
  })
})
