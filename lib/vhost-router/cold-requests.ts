import type { IncomingMessage, ServerResponse } from 'node:http'
import type { App } from '../app.ts'
import type { AppFinder } from '../app-finder.ts'
import type { Counters } from '../counters.ts'
import type { Name } from '../hostname.ts'
import type { Next } from '../launch/launch.ts'
import type { VhostLocation } from '../vhost-path.ts'

/**
 * Serves requests to hostnames that no app serves yet: has the app found and loaded, or counts the request as unrouted.
 */
export class ColdRequests {
  readonly #finder: AppFinder
  readonly #counters: Counters

  constructor(finder: AppFinder, counters: Counters) {
    this.#finder = finder
    this.#counters = counters
  }

  serve(name: Name, req: IncomingMessage, res: ServerResponse, next: Next): void {
    this.#finder.locate(name.hostname, req, ({ error, location }) => {
      if (location || error) {
        void this.#serveFound(name, req, res, next)
        return
      }
      this.#counters.unrouted.no_vhost++
      next()
    })
  }

  /**
   * The app of a hostname, held until `app.letGo()`; undefined if there is no such vhost or no app in it. Rejects
   * with a `VhostError`.
   */
  async find({ hostname, host }: Name, req: IncomingMessage): Promise<App | undefined> {
    try {
      const app = await this.#finder.find(hostname, host, req)
      if (!app) this.#finder.locate(hostname, req, this.#countUnrouted)
      return app
    } catch (error) {
      this.#counters.unrouted.failed++
      throw error
    }
  }

  async #serveFound(name: Name, req: IncomingMessage, res: ServerResponse, next: Next): Promise<void> {
    let app: App | undefined
    try {
      app = await this.find(name, req)
    } catch (error) {
      next(error)
      return
    }
    if (!app) {
      next()
      return
    }
    app.letGo()
    app.handle(req, res, next)
  }

  readonly #countUnrouted = ({ location }: { location?: VhostLocation | undefined }): void => {
    this.#counters.unrouted[location ? 'no_app' : 'no_vhost']++
  }
}
