const KEY = 'express-van bench handler'

/**
 * The source of an app that exports one handler shared by the whole process. The way to the app is measured, and
 * thousands of separate handlers would come from cold caches each time.
 */
export const SHARED_HANDLER_SOURCE = `module.exports = globalThis[Symbol.for('${KEY}')]\n`

export function shareHandler(handler: unknown): void {
  Object.assign(globalThis, { [Symbol.for(KEY)]: handler })
}
