const KEY = 'express-van bench handler'

/**
 * The source of an app that exports one handler which all of the process share: what is measured is the way to the
 * app, and thousands of apps of their own would come out of cold caches each time.
 */
export const SHARED_HANDLER_SOURCE = `module.exports = globalThis[Symbol.for('${KEY}')]\n`

export function shareHandler(handler: unknown): void {
  Object.assign(globalThis, { [Symbol.for(KEY)]: handler })
}
