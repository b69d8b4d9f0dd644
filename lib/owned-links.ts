import { lstat, readlink } from 'node:fs/promises'
import { isAbsolute, join, parse, sep } from 'node:path'

const ROOT = 0
/** As many as Linux follows. */
const MAX_LINKS = 40

/**
 * Throws where somebody leads to what is another user's: each link on the way to a real path has to be of who owns that,
 * root's, or of who has the base path. Apache's `SymLinksIfOwnerMatch`, for the way to a vhost: the router may read what
 * they may not.
 * @throws Error with `code: 'EACCES'`
 */
export async function expectOwnLinks(
  path: string,
  { realPath, uid }: { realPath: string; uid: number },
  basePath: string,
): Promise<void> {
  const trusted = new Set([ROOT, uid, (await lstat(basePath)).uid])
  const { root } = parse(path)
  let at = root
  let links = 0
  const steps = stepsOf(path)
  for (let step = steps.shift(); step !== undefined; step = steps.shift()) {
    const next = join(at, step)
    const stats = await lstat(next)
    if (!stats.isSymbolicLink()) {
      at = next
      continue
    }
    if (!trusted.has(stats.uid) || ++links > MAX_LINKS) throw forbidden(next)
    const target = await readlink(next)
    if (isAbsolute(target)) at = root
    steps.unshift(...stepsOf(target))
  }
  // Led elsewhere since that was found.
  if (at !== realPath) throw forbidden(path)
}

function stepsOf(path: string): string[] {
  return path.split(sep).filter(step => step !== '')
}

function forbidden(path: string): NodeJS.ErrnoException {
  const error = new Error(`EACCES: a link that belongs to another user than what it leads to, '${path}'`)
  return Object.assign(error, { code: 'EACCES', syscall: 'lstat', path })
}
