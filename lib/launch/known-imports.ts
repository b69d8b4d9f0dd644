/**
 * What the live generations have imported. Node asks a hook at each `import()`, even for a file that it loaded long
 * ago. Without a hook it would not look for that file again, nor miss it while an installation has taken it away.
 */
export class KnownImports<R> {
  readonly #known = new Map<string, Map<string, R> | undefined>()

  begin(generation: string): void {
    if (!this.#known.has(generation)) this.#known.set(generation, undefined)
  }

  end(generation: string): void {
    this.#known.delete(generation)
  }

  has(generation: string): boolean {
    return this.#known.has(generation)
  }

  get(generation: string, key: string): R | undefined {
    return this.#known.get(generation)?.get(key)
  }

  /** A generation that has ended may go on importing, but must not be kept in memory for that. */
  add(generation: string, key: string, resolved: R): void {
    if (!this.#known.has(generation)) return
    const known = this.#known.get(generation) ?? new Map<string, R>()
    this.#known.set(generation, known.set(key, resolved))
  }
}
