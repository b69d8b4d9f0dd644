import express from 'express'

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
  :root { color-scheme: light dark; accent-color: #76a }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.5rem; border-left: .4rem solid #76a }
  h1 { margin: 0; line-height: 1.2 }
  code { font-size: .9em; overflow-wrap: anywhere }
  pre { overflow-x: auto }
  small { opacity: .7 }
</style>
<h1>&#9805;&#xFE0E; ${hostname}</h1>
<p>This is <b>release 1</b>. The link <code>current</code> leads to <code>releases/1</code>.</p>
<!-- mv -T puts the new link in place of the old one in one step, so there is never a moment without a link. -->
<p>Flip to release 2, from the top of the repository:</p>
<pre><code>cd example-site/vhosts/virgo.localhost
ln -sfn releases/2 current.tmp &amp;&amp; mv -T current.tmp current</code></pre>
<p><small>If <code>mv</code> knows no <code>-T</code> (macOS): <code>ln -sfn releases/2 current</code>.
Or edit <code>example-site/vhosts/virgo.localhost/releases/1/app/index.js</code> and refresh.</small></p>
`

export default app
