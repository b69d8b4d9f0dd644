const express = require('express')

const app = express()
const port = process.env.PORT || 3000

app.get('/', (req, res) => {
  res.send(page(req.hostname))
})

const page = hostname => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>${hostname}</title>
<style>
  :root { color-scheme: light dark; accent-color: #922 }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.5rem; border-left: .4rem solid #922 }
  h1 { margin: 0; line-height: 1.2 }
  code { font-size: .9em; overflow-wrap: anywhere }
  small { opacity: .7 }
</style>
<h1>&#9807;&#xFE0E; ${hostname}</h1>
<p>An app that could run by itself: it exports nothing and calls <code>app.listen()</code>.</p>
<p>Here the router catches the call: no port is bound, and the server answers for this host name.</p>
<p><small>Edit <code>example-site/vhosts/scorpio.localhost/app/server.js</code> and refresh.</small></p>
`

app.listen(port, () => {
  console.log('scorpio.localhost: ready')
})
