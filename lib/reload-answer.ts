import type { VhostRouter } from './index.ts'

/** What is answered to whoever asks for a reload by HTTP; rejects as `reload()` does. */
export async function reloadAnswer(
  vhosts: Pick<VhostRouter, 'reload' | 'why'>,
  host: string,
): Promise<[status: number, body: object]> {
  const release = await vhosts.reload(host)
  if (release) return [200, { realPath: release.realPath }]
  const { outcome, notes, error } = await vhosts.why(host)
  // It may have a folder that cannot be read.
  if (error) return [500, { code: error.code, message: error.message, cause: error.cause }]
  // It serves, and what it was loaded from is away.
  if (outcome === 'app') return [500, { message: ['nothing was there to load', ...notes].join('; ') }]
  return [404, { outcome, message: [`there is ${outcome}`, ...notes].join('; ') }]
}
