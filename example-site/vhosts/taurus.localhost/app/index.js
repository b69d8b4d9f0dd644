import { readFile } from 'node:fs/promises'
import express from 'express'

const { greeting } = JSON.parse(await readFile(new URL('./greeting.json', import.meta.url), 'utf8'))

let seconds = 0
const clock = setInterval(() => seconds++, 1000)

const app = express()
app.get('/', (req, res) => {
  res.send(page(req.vhost.hostname))
})

const page = hostname => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>${hostname}</title>
<style>
  :root { color-scheme: light dark; accent-color: #284 }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.5rem; border-left: .4rem solid #284 }
  h1 { margin: 0; line-height: 1.2 }
  code { font-size: .9em; overflow-wrap: anywhere }
  small { opacity: .7 }
</style>
<h1>&#9801;&#xFE0E; ${hostname}</h1>
<p>${greeting}, an Express app in ES modules. A top-level await read the greeting.</p>
<p>Loaded <b>${seconds}</b> seconds ago. <code>close()</code> stops that clock when the app is replaced.</p>
<p><small>Edit <code>example-site/vhosts/taurus.localhost/app/greeting.json</code> and refresh.</small></p>
`

export default app

export function close() {
  clearInterval(clock)
  console.log('taurus.localhost: the clock has stopped')
}
