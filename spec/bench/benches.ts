import { readdirSync } from 'node:fs'

const SUFFIX = '.bench.js'
/** The order of the table; unlisted benches come last. */
const ORDER = [
  'http',
  'dispatch',
  'flip',
  'flips-under-load',
  'isolation',
  'cold-load',
  'many-folders',
  'idle',
  'unknown-names',
  'memory',
]

/**
 * The benches whose names contain one of the arguments, or equal it; without arguments, all of them.
 * @throws if an argument matches none
 */
export function chooseBenches(names: readonly string[], all: readonly string[] = allBenches()): string[] {
  if (names.length === 0) return [...all]
  const chosen = names.flatMap(name => {
    const found = all.includes(name) ? [name] : all.filter(bench => bench.includes(name))
    if (found.length === 0) throw new Error(`no bench is named ${name}; there are ${all.join(', ')}`)
    return found
  })
  return all.filter(bench => chosen.includes(bench))
}

function allBenches(): string[] {
  return readdirSync(import.meta.dirname)
    .filter(file => file.endsWith(SUFFIX))
    .map(file => file.slice(0, -SUFFIX.length))
    .sort((a, b) => rank(a) - rank(b))
}

function rank(bench: string): number {
  const index = ORDER.indexOf(bench)
  return index < 0 ? ORDER.length : index
}
