import { isWebServer, type WebServer } from '../launch/caught-listen.ts'
import type { Handle } from '../launch/launch.ts'

interface Nest {
  init(): Promise<unknown>
  getHttpAdapter(): { getInstance(): object }
  getHttpServer(): unknown
}

interface Fastify {
  ready(): PromiseLike<unknown>
  routing: Handle
  server: unknown
}

interface Koa {
  callback(): Handle
}

/**
 * Makes an app of NestJS, Fastify or Koa ready and returns what answers for it; undefined if the object is none. If the
 * app has a server, that answers: socket.io and the like attach to it.
 */
export async function frameworkAnswer(app: object): Promise<Handle | WebServer | undefined> {
  if (has<Nest>(app, 'init', 'getHttpAdapter', 'getHttpServer')) return await nestAnswer(app)
  if (has<Fastify>(app, 'ready', 'routing')) return await fastifyAnswer(app)
  if (has<Koa>(app, 'callback', 'use')) return app.callback()
  return undefined
}

async function nestAnswer(app: Nest): Promise<Handle | WebServer | undefined> {
  await app.init()
  const instance = app.getHttpAdapter().getInstance()
  // Nest's init() does not make Fastify ready.
  const answer = typeof instance === 'function' ? (instance as Handle) : await frameworkAnswer(instance)
  const server = app.getHttpServer()
  return isWebServer(server) ? server : answer
}

async function fastifyAnswer(app: Fastify): Promise<Handle | WebServer> {
  await app.ready()
  return isWebServer(app.server) ? app.server : app.routing
}

function has<T>(app: object, ...methods: string[]): app is T & object {
  return methods.every(name => typeof (app as Record<string, unknown>)[name] === 'function')
}
