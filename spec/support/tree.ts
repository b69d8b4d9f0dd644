import type { World } from './world.ts'

/** A folder tree from README: its entries, and which entry answers which host. */
export interface Tree {
  readonly vhostDir: string | string[]
  readonly entries: readonly TreeEntry[]
}

interface TreeEntry {
  readonly path: string
  /** The target of a link. */
  readonly target: string | undefined
  readonly hosts: readonly string[]
}

/** The trees in a Markdown text that begin with their `vhostDir`. */
export function treesOf(markdown: string): Tree[] {
  return [...markdown.matchAll(/^ {4}vhostDir: (.*)\n((?: {6}.*\n)+)/gm)].map(
    ([, vhostDir = '', lines = '']) => ({
      vhostDir: JSON.parse(vhostDir.replaceAll("'", '"')),
      entries: lines.trimEnd().split('\n').map(entryOf),
    }),
  )
}

/** Builds the tree; each app answers with its real path. */
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
