import { lstat, readlink } from 'node:fs/promises'
import { isAbsolute, join, parse, sep } from 'node:path'

const ROOT = 0
/** As many as Linux follows. */
const MAX_LINKS = 40

/**
 * Throws if a link leads to what is another user's: each link on the way to a real path must belong to the owner of
 * that, to root, or to the owner of the base path. This is Apache's `SymLinksIfOwnerMatch` for the way to a vhost,
 * since the router may read what those users may not.
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
  // The path leads elsewhere since the real path was found.
  if (at !== realPath) throw forbidden(path)
}

function stepsOf(path: string): string[] {
  return path.split(sep).filter(step => step !== '')
}

function forbidden(path: string): NodeJS.ErrnoException {
  const error = new Error(`EACCES: a link and its target belong to different users, '${path}'`)
  return Object.assign(error, { code: 'EACCES', syscall: 'lstat', path })
}
