import { H3, html, raw } from 'h3'

const app = new H3()

app.get('/', event => html(raw(page(event.url.hostname))))

export default app

const page = hostname => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>${hostname}</title>
<style>
  :root { color-scheme: light dark }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.5rem; border-left: .4rem solid #a8c }
  h1 { margin: 0; line-height: 1.2 }
  code { font-size: .9em; overflow-wrap: anywhere }
  small { opacity: .7 }
</style>
<h1>${hostname}</h1>
<p>An app of h3, called by its <code>fetch(request)</code>.</p>
<p><small>Edit <code>example-site/vhosts/h3.localhost/app/index.js</code> and refresh.</small></p>
`
