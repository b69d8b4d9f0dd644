import Koa from 'koa'

const app = new Koa()

app.use(ctx => {
  if (ctx.path !== '/') return
  ctx.type = 'html'
  ctx.body = page(ctx.hostname)
})

export default app

const page = hostname => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>${hostname}</title>
<style>
  :root { color-scheme: light dark }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.5rem; border-left: .4rem solid #333 }
  h1 { margin: 0; line-height: 1.2 }
  code { font-size: .9em; overflow-wrap: anywhere }
  small { opacity: .7 }
</style>
<h1>${hostname}</h1>
<p>An app of Koa, exported as it is.</p>
<p><small>Edit <code>example-site/vhosts/koa.localhost/app/index.js</code> and refresh.</small></p>
`
