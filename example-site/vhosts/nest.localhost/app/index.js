import 'reflect-metadata'
import { Controller, Get, Module, Req } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'

class Home {
  show(request) {
    return page(request.hostname)
  }
}

// Does what `@Controller()`, `@Get()` and `@Req()` do when TypeScript compiles them.
Controller()(Home)
Get()(Home.prototype, 'show', Object.getOwnPropertyDescriptor(Home.prototype, 'show'))
Req()(Home.prototype, 'show', 0)

class Site {}
Module({ controllers: [Home] })(Site)

export default NestFactory.create(Site, { logger: ['error', 'warn'] })

const page = hostname => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>${hostname}</title>
<style>
  :root { color-scheme: light dark }
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 10vh auto; padding: 0 1.5rem; border-left: .4rem solid #d24 }
  h1 { margin: 0; line-height: 1.2 }
  code { font-size: .9em; overflow-wrap: anywhere }
  small { opacity: .7 }
</style>
<h1>${hostname}</h1>
<p>An app of NestJS on Express: the router calls <code>init()</code>, and <code>listen()</code> is not needed.</p>
<p><small>Edit <code>example-site/vhosts/nest.localhost/app/index.js</code> and refresh.</small></p>
`
