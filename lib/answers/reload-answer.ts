import type { VhostRouter } from '../index.ts'

/** The answer to a reload that is asked for over HTTP; rejects as `reload()` does. */
export async function reloadAnswer(
  vhosts: Pick<VhostRouter, 'reload' | 'why'>,
  host: string,
): Promise<[status: number, body: object]> {
  const release = await vhosts.reload(host)
  if (release) return [200, { realPath: release.realPath }]
  const { outcome, notes, error } = await vhosts.why(host)
  // The vhost may have a folder that cannot be read.
  if (error) return [500, { code: error.code, message: error.message, cause: error.cause }]
  // The app serves on, but what it was loaded from is missing.
  if (outcome === 'app') return [500, { message: ['nothing was there to load', ...notes].join('; ') }]
  return [404, { outcome, message: [`there is ${outcome}`, ...notes].join('; ') }]
}
