/** A way to write a web app. Each app answers `/` with `NAME`, and fails at `/boom`. */
export interface Shape {
  readonly name: string
  /** How its row in README begins. */
  readonly line: Line
  /** What it imports: names, with their package. */
  readonly uses: Readonly<Record<string, string>>
  /** Source that makes `app`, and calls `ended()` in a hook of its own if it has one. */
  readonly app: string
  /** Its `http.Server`; if it has none, the module exports `upgrade`, and with it `close`. */
  readonly server?: string
  /** Whether it exports nothing. */
  readonly isProgram?: boolean
  readonly exportName?: string
  /**
   * Who answers a path that the app does not know, and where its errors go: the app itself, or the app around the
   * router.
   */
  readonly unknown: 'own' | 'outer'
  readonly error: 'own' | 'outer'
  readonly systems?: readonly System[]
}

export type Line =
  | 'a function `(req, res, next)`'
  | 'an `http.Server`'
  | 'an app of Koa'
  | 'an app of Fastify'
  | 'an app of NestJS'
  | 'an object with `fetch(request)`'
  | 'nothing, but it calls `listen()`'

export type System = 'CommonJS' | 'ES module'

const MIDDLEWARE = `app.use((req, res, next) => {
  if (req.url === '/boom') throw new Error('boom')
  if (req.url === '/') res.end(NAME)
  else next()
})`

const PLAIN = `(req, res) => {
  if (req.url === '/boom') throw new Error('boom')
  if (req.url !== '/') res.statusCode = 404
  res.end(req.url === '/' ? NAME : 'own')
}`

const KOA = `const app = new Koa()
app.silent = true
app.use(ctx => {
  if (ctx.path === '/boom') throw new Error('boom')
  if (ctx.path === '/') ctx.body = NAME
})`

const FASTIFY = `const app = fastify()
app.get('/', async () => NAME)
app.get('/boom', async () => { throw new Error('boom') })
app.addHook('onClose', async () => ended())`

const HONO = `const app = new Hono()
app.get('/', c => c.text(NAME))
app.get('/boom', () => { throw new Error('boom') })
app.onError((error, c) => c.text('own', 500))`

const H3_APP = `const app = new H3({ silent: true })
app.get('/', () => NAME)
app.get('/boom', () => { throw new Error('boom') })`

const NEST = `class Site {
  root() { return NAME }
  boom() { throw new Error('boom') }
  onModuleDestroy() { ended() }
}
class Main {}
Controller()(Site)
Get()(Site.prototype, 'root', Object.getOwnPropertyDescriptor(Site.prototype, 'root'))
Get('boom')(Site.prototype, 'boom', Object.getOwnPropertyDescriptor(Site.prototype, 'boom'))
Module({ controllers: [Site] })(Main)`

const NEST_USES = { '{ Controller, Get, Module }': '@nestjs/common', '{ NestFactory }': '@nestjs/core' }

export const SHAPES: readonly Shape[] = [
  ...['express', 'express4'].flatMap((express): Shape[] => [
    {
      name: `an app of ${express}`,
      line: 'a function `(req, res, next)`',
      uses: { express },
      app: `const app = express()\n${MIDDLEWARE}`,
      unknown: 'outer',
      error: 'outer',
    },
    {
      name: `a router of ${express}`,
      line: 'a function `(req, res, next)`',
      uses: { express },
      app: `const app = express.Router()\n${MIDDLEWARE}`,
      unknown: 'outer',
      error: 'outer',
    },
  ]),
  {
    name: 'connect',
    line: 'a function `(req, res, next)`',
    uses: { connect: 'connect' },
    app: `const app = connect()\n${MIDDLEWARE}`,
    unknown: 'outer',
    error: 'outer',
  },
  {
    name: 'a plain function',
    line: 'a function `(req, res, next)`',
    uses: {},
    app: `const app = ${PLAIN}`,
    unknown: 'own',
    error: 'outer',
  },
  {
    name: 'an http.Server',
    line: 'an `http.Server`',
    uses: { http: 'node:http' },
    app: `const app = http.createServer(${PLAIN}).on('close', ended)`,
    server: 'app',
    unknown: 'own',
    error: 'outer',
  },
  {
    name: 'an app of Koa',
    line: 'an app of Koa',
    uses: { Koa: 'koa' },
    app: KOA,
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'callback() of Koa',
    line: 'a function `(req, res, next)`',
    uses: { Koa: 'koa' },
    app: `${KOA.replace('const app', 'const koa').replaceAll('app.', 'koa.')}\nconst app = koa.callback()`,
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'createApp() that gives an app of Koa',
    line: 'an app of Koa',
    uses: { Koa: 'koa' },
    app: `${KOA}\nconst createApp = async () => app`,
    exportName: 'createApp()',
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'an app of Fastify',
    line: 'an app of Fastify',
    uses: { fastify: 'fastify' },
    app: FASTIFY,
    server: 'app.server',
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'an app of Hono',
    line: 'an object with `fetch(request)`',
    uses: { '{ Hono }': 'hono' },
    app: HONO,
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'an app of h3',
    line: 'an object with `fetch(request)`',
    uses: { '{ H3 }': 'h3' },
    app: H3_APP,
    unknown: 'own',
    error: 'own',
    systems: ['ES module'],
  },
  {
    name: 'an object with fetch(request)',
    line: 'an object with `fetch(request)`',
    uses: {},
    app: `const app = {
      async fetch(request) {
        const { pathname } = new URL(request.url)
        if (pathname === '/boom') throw new Error('boom')
        return pathname === '/' ? new Response(NAME) : new Response('own', { status: 404 })
      }
    }`,
    unknown: 'own',
    error: 'outer',
  },
  {
    name: 'a promise of an app of NestJS',
    line: 'an app of NestJS',
    uses: NEST_USES,
    app: `${NEST}
    const app = NestFactory.create(Main, { logger: false }).then(nest => {
      webSockets(nest.getHttpServer())
      return nest
    })`,
    server: '',
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'a promise of the instance that NestJS runs on',
    line: 'a function `(req, res, next)`',
    uses: NEST_USES,
    app: `${NEST}
    const app = NestFactory.create(Main, { logger: false }).then(async nest => {
      await nest.init()
      return nest.getHttpAdapter().getInstance()
    })`,
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'listen() of Express',
    line: 'nothing, but it calls `listen()`',
    uses: { express: 'express' },
    app: `const app = express()\n${MIDDLEWARE}
    app.use((req, res) => res.status(404).end('own')).use((error, req, res, next) => res.status(500).end('own'))
    const server = app.listen(3000).on('close', ended)`,
    server: 'server',
    isProgram: true,
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'listen() of Koa',
    line: 'nothing, but it calls `listen()`',
    uses: { Koa: 'koa' },
    app: `${KOA}\nconst server = app.listen(3000).on('close', ended)`,
    server: 'server',
    isProgram: true,
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'listen() of Fastify',
    line: 'nothing, but it calls `listen()`',
    uses: { fastify: 'fastify' },
    app: `${FASTIFY.replace(/.*onClose.*/, '')}
    app.listen({ port: 3000 }).then(address => {
      if (!/^http:..[^/]+:3000$/.test(address)) throw new Error(address)
    })
    app.server.on('close', ended)`,
    server: 'app.server',
    isProgram: true,
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'serve() of Hono',
    line: 'nothing, but it calls `listen()`',
    uses: { '{ Hono }': 'hono', '{ serve }': '@hono/node-server' },
    app: `${HONO}
    const server = serve({ fetch: app.fetch, port: 3000, overrideGlobalObjects: false }, info => {
      if (info.port !== 3000) throw new Error(info.port)
    })
    server.on('close', ended)`,
    server: 'server',
    isProgram: true,
    unknown: 'own',
    error: 'own',
  },
  {
    name: 'serve() of h3',
    line: 'nothing, but it calls `listen()`',
    uses: { '{ H3, serve }': 'h3' },
    app: `${H3_APP}
    const { node } = serve(app, { port: 3000, silent: true })
    node.server.on('close', ended)`,
    server: 'node.server',
    isProgram: true,
    unknown: 'own',
    error: 'own',
    systems: ['ES module'],
  },
  {
    name: 'listen() of NestJS',
    line: 'nothing, but it calls `listen()`',
    uses: NEST_USES,
    app: `${NEST.replace(/onModuleDestroy.*/, '')}
    NestFactory.create(Main, { logger: false }).then(async nest => {
      webSockets(nest.getHttpServer())
      nest.getHttpServer().on('close', ended)
      await nest.listen(3000)
      if (!(await nest.getUrl()).endsWith(':3000')) throw new Error(await nest.getUrl())
    })`,
    server: '',
    isProgram: true,
    unknown: 'own',
    error: 'own',
  },
]

/**
 * The app as a module that answers with a name, echoes WebSocket messages with that name, and writes the name to a file
 * when it is told of its end.
 */
export function moduleOf(shape: Shape, system: System, name: string, notes: string): string {
  const { uses, app, server, isProgram, exportName } = shape
  const isImported = system === 'ES module'
  const imports = Object.entries({ ...uses, '{ WebSocketServer }': 'ws' }).map(([names, from]) =>
    isImported ? `import ${names} from '${from}'` : `const ${names} = require('${from}')`,
  )
  const hooks =
    server === undefined
      ? `const sockets = webSockets()
        const close = ended
        const upgrade = (req, socket, head) =>
          sockets.handleUpgrade(req, socket, head, client => sockets.emit('connection', client))`
      : server && `webSockets(${server})`
  const names = [
    exportName?.replace('()', '') ?? 'app',
    ...(server === undefined ? ['upgrade', 'close'] : []),
  ]
  const exported = names.join(', ')
  return `${imports.join('\n')}
    const NAME = '${name}'
    const ended = () => process.getBuiltinModule('fs').appendFileSync('${notes}', NAME + '\\n')
    const webSockets = server => new WebSocketServer(server ? { server } : { noServer: true })
      .on('connection', client => client.on('message', data => client.send(NAME + ' ' + data)))
    ${app}
    ${hooks}
    ${isProgram ? '' : isImported ? `export { ${exported} }` : `module.exports = { ${exported} }`}`
}
