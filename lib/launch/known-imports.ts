/**
 * What the generations that live have imported. Node asks a hook at each `import()`, also for what it has loaded long
 * since; without a hook it would look for that no more, and not miss it while an installation has taken it away.
 */
export class KnownImports<R> {
  readonly #known = new Map<string, Map<string, R> | undefined>()

  begin(generation: string): void {
    if (!this.#known.has(generation)) this.#known.set(generation, undefined)
  }

  end(generation: string): void {
    this.#known.delete(generation)
  }

  get(generation: string, key: string): R | undefined {
    return this.#known.get(generation)?.get(key)
  }

  /** Whoever has ended may go on importing, and is not to be kept by it. */
  add(generation: string, key: string, resolved: R): void {
    if (!this.#known.has(generation)) return
    const known = this.#known.get(generation) ?? new Map<string, R>()
    this.#known.set(generation, known.set(key, resolved))
  }
}
