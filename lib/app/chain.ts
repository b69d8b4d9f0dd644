/**
 * An unordered collection that any member can leave in constant time. A `Set` does the same at four times the cost,
 * because it needs a hash of each object; this is part of every request.
 */
export class Chain<T> {
  size = 0
  first: Link<T> | undefined

  add(value: T): Link<T> {
    const link = new Link(value, this, this.first)
    if (this.first) this.first.before = link
    this.first = link
    this.size++
    return link
  }

  /** A copy of what is in it now, so the chain may change meanwhile. */
  values(): T[] {
    const values: T[] = []
    for (let link = this.first; link; link = link.after) values.push(link.value)
    return values
  }
}

/** The place of one thing in a chain. */
export class Link<T> {
  readonly value: T
  before: Link<T> | undefined
  after: Link<T> | undefined
  #chain: Chain<T> | undefined

  constructor(value: T, chain: Chain<T>, after: Link<T> | undefined) {
    this.value = value
    this.#chain = chain
    this.before = undefined
    this.after = after
  }

  /** Returns false if it has left already. */
  leave(): boolean {
    const chain = this.#chain
    if (!chain) return false
    this.#chain = undefined
    if (this.before) this.before.after = this.after
    else chain.first = this.after
    if (this.after) this.after.before = this.before
    chain.size--
    return true
  }
}
