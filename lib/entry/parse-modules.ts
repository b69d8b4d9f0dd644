/**
 * A program that parses an ES module and those that it imports by their paths, and runs none of them. At the first that
 * V8 cannot parse it ends with the place on stderr, as other programs do.
 */
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { SourceTextModule } from 'node:vm'
import { isSurelyCommonJS } from '../launch/module-type.ts'

const seen = new Set<string>()
parse(pathToFileURL(process.argv[2] as string))

function parse(url: URL): void {
  if (seen.has(url.href)) return
  seen.add(url.href)
  const file = fileURLToPath(url)
  if (!/^\.m?js$/.test(extname(file)) || isSurelyCommonJS(file)) return
  const { dependencySpecifiers } = new SourceTextModule(readFileSync(file, 'utf8'), { identifier: url.href })
  for (const specifier of dependencySpecifiers) {
    if (/^\.{0,2}\//.test(specifier)) parse(new URL(specifier, url))
  }
}
