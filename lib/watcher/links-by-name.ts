/** A need for a folder. */
export interface NamedLink {
  /** The names in the folder that matter; undefined means all. */
  readonly names: readonly string[] | undefined
}

/** The links to a folder, by the names in it that matter to them. */
export class LinksByName<Link extends NamedLink> {
  readonly #links = new Map<string | undefined, Link[]>()

  add(link: Link): void {
    for (const name of link.names ?? [undefined]) {
      const links = this.#links.get(name)
      if (links) links.push(link)
      else this.#links.set(name, [link])
    }
  }

  remove(link: Link): void {
    for (const name of link.names ?? [undefined]) {
      const left = this.#links.get(name)?.filter(one => one !== link) ?? []
      if (left.length > 0) this.#links.set(name, left)
      else this.#links.delete(name)
    }
  }

  /** The links that a name matters to. */
  get(name: string): Link[] {
    return [...(this.#links.get(undefined) ?? []), ...(this.#links.get(name) ?? [])]
  }
}
