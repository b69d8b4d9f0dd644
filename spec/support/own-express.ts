import { cpSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)

/** Gives an app's folder what `npm ci` would: its own copy of Express and all its dependencies. */
export function installExpress(folder: string): void {
  const installed = dirname(dirname(require.resolve('express/package.json')))
  for (const name of packagesOf('express', installed)) {
    cpSync(join(installed, name), join(folder, 'node_modules', name), { recursive: true })
  }
}

/** A package and all its dependencies. */
function packagesOf(name: string, installed: string, known = new Set<string>()): Set<string> {
  if (known.has(name)) return known
  known.add(name)
  const { dependencies = {} } = JSON.parse(readFileSync(join(installed, name, 'package.json'), 'utf8'))
  for (const dependency of Object.keys(dependencies)) packagesOf(dependency, installed, known)
  return known
}
