// Broken on purpose. In line 3 a letter is missing from the file's name: mend it and refresh the page.
const express = require('express')
const greeting = require('./greting')

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
  :root { color-scheme: light dark; accent-color: #c5c }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.5rem; border-left: .4rem solid #c5c }
  h1 { margin: 0; line-height: 1.2 }
  code { font-size: .9em; overflow-wrap: anywhere }
  small { opacity: .7 }
</style>
<h1>&#9806;&#xFE0E; ${hostname}</h1>
<p>${greeting}. It loaded as soon as it was mended.</p>
<p><small>Break <code>example-site/vhosts/libra.localhost/app/index.js</code> once more: the terminal shows the error, and this
page stays up, because the last good release keeps serving.</small></p>
`

module.exports = app
