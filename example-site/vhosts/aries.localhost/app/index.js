const express = require('express')
const { greeting } = require('./lib')

const app = express()
let requests = 0

app.get('/', (req, res) => {
  requests++
  res.send(page(req.vhost.hostname))
})

const page = hostname => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>${hostname}</title>
<link rel="stylesheet" href="/style.css">
<h1>&#9800;&#xFE0E; ${hostname}</h1>
<p>${greeting}, an Express app in CommonJS.</p>
<p>Requests since it was loaded: <b>${requests}</b>. <code>www.aries.localhost</code> is a link to the same folder, so its requests count here too.</p>
<p>The style sheet and <a href="/about.html">this page</a> are files in its document root.</p>
<p><small>Edit <code>example-site/vhosts/aries.localhost/app/lib.js</code> and refresh: the greeting is new, and the count starts anew.</small></p>
`

module.exports = app
