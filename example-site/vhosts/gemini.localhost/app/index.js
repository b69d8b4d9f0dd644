const express = require('express')
const zodiac = require('zodiac')

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
  :root { color-scheme: light dark; accent-color: #b80 }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.5rem; border-left: .4rem solid #b80 }
  h1 { margin: 0; line-height: 1.2 }
  code { font-size: .9em; overflow-wrap: anywhere }
  small { opacity: .7 }
</style>
<h1>${zodiac.symbol('gemini')}&#xFE0E; ${hostname}</h1>
<p>This site uses <b>zodiac ${zodiac.version}</b>, a CommonJS package in its own <code>node_modules</code>.</p>
<p>Its neighbour cancer.localhost uses another version of the same package.</p>
<p><small>Edit <code>example-site/vhosts/gemini.localhost/app/index.js</code> and refresh. An edit in <code>node_modules</code>
shows with the next reload: <code>touch example-site/vhosts/gemini.localhost/app/index.js</code></small></p>
`

module.exports = app
