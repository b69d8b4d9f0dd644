import type { World } from './world.ts'

/** A folder tree of README: its entries, and which of them answers which host. */
export interface Tree {
  readonly vhostDir: string | string[]
  readonly entries: readonly TreeEntry[]
}

interface TreeEntry {
  readonly path: string
  /** Of a link. */
  readonly target: string | undefined
  readonly hosts: readonly string[]
}

/** The trees of a text in Markdown that begin with their `vhostDir`. */
export function treesOf(markdown: string): Tree[] {
  return [...markdown.matchAll(/^ {4}vhostDir: (.*)\n((?: {6}.*\n)+)/gm)].map(
    ([, vhostDir = '', lines = '']) => ({
      vhostDir: JSON.parse(vhostDir.replaceAll("'", '"')),
      entries: lines.trimEnd().split('\n').map(entryOf),
    }),
  )
}

/** Builds it; each app answers with its real path. */
export function build(world: World, { entries }: Tree): void {
  for (const { path, target } of entries) {
    if (target !== undefined) world.link(path, target)
    else world.write(`${path}index.js`, 'module.exports = (req, res) => res.end(req.vhost.realPath)')
  }
}

function entryOf(line: string): TreeEntry {
  const [entry = '', hosts = ''] = line.trim().split(/ {2,}/)
  const [path = '', target] = entry.split(' -> ')
  return { path, target, hosts: hosts.split(' ').filter(host => host !== '') }
}
