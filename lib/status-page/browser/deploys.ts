/** As many as the server keeps. */
const MAX_SHOWN = 200

/** What the router did recently, the latest first. */
class DeployList {
  readonly #list: HTMLElement
  readonly #count: HTMLElement
  #filter = ''

  constructor(list: HTMLElement, count: HTMLElement) {
    this.#list = list
    this.#count = count
  }

  /** Shows these and no others. Items already shown stay in place, with what is open or focused in them. */
  set(deploys: readonly Deploy[]): void {
    const known = new Map(this.#items.map(item => [item.dataset.key, item]))
    const wanted = deploys.map(deploy => known.get(keyOfDeploy(deploy)) ?? itemOf(deploy)).reverse()
    const kept = new Set(wanted)
    for (const item of known.values()) if (!kept.has(item)) item.remove()
    for (const [i, item] of wanted.entries()) {
      const there = this.#list.children[i]
      if (there !== item) this.#list.insertBefore(item, there ?? null)
    }
    this.#show()
  }

  add(deploys: readonly Deploy[]): void {
    for (const deploy of deploys) this.#list.prepend(itemOf(deploy))
    while (this.#list.childElementCount > MAX_SHOWN) this.#drop()
    this.#show()
  }

  /** Shows the items that contain a text, given in lower case. */
  filterBy(text: string): void {
    this.#filter = text
    this.#show()
  }

  get #items(): HTMLElement[] {
    return [...this.#list.children] as HTMLElement[]
  }

  /** Drops the item that the server drops, too: first loads and evictions must not push out deploys and refusals. */
  #drop(): void {
    const passing = this.#items.findLast(({ dataset: { event } }) => event === 'load' || event === 'evict')
    ;(passing ?? this.#list.lastElementChild)?.remove()
  }

  #show(): void {
    const items = this.#items
    for (const item of items) item.hidden = !item.textContent?.toLowerCase().includes(this.#filter)
    const matching = items.filter(({ hidden }) => !hidden).length
    setText(this.#count, matching === items.length ? `${matching}` : `${matching} of ${items.length}`)
  }
}

function itemOf(deploy: Deploy): HTMLElement {
  const item = element('li')
  item.dataset.key = keyOfDeploy(deploy)
  item.dataset.event = deploy.event
  const time = element('time', '', timeOf(deploy.time))
  time.dateTime = deploy.time
  const isError = deploy.event === 'error'
  const kind = element('span', isError ? 'error' : '', KINDS[deploy.event])
  const names = element('b', 'short', deploy.hostnames.join(' ') || '-')
  setTitle(names, deploy.hostnames.join(' '))
  item.append(time, ' ', kind, ' ', names, ' ')
  const path = element('span', 'dim', deploy.realPath)
  // What is no Error has no stack, and may be as long.
  const whole = deploy.stack ?? deploy.cause
  const what = element(whole === null ? 'div' : 'summary', 'short', `${whatOf(deploy)} `)
  what.append(path)
  if (whole === null) {
    item.append(what)
    return item
  }
  const details = element('details')
  const stack = element('pre', '', whole)
  stack.tabIndex = 0
  stack.role = 'region'
  stack.ariaLabel = deploy.stack === null ? 'Cause' : 'Stack'
  details.append(what, stack)
  item.append(details)
  return item
}

/** The time is part of the key, as a restarted router counts anew. */
function keyOfDeploy({ id, time }: Deploy): string {
  return `${time} ${id}`
}

const KINDS = { load: 'loaded', reload: 'reloaded', evict: 'evicted', error: 'refused' } as const

function whatOf({ event, durationMs, reason, message, cause, serving }: Deploy): string {
  if (event === 'evict') return String(reason)
  if (event !== 'error') return `${Math.round(durationMs ?? 0)} ms`
  return `${cause ?? message}; ${serving === null ? 'nothing serves' : 'the release before it serves on'}`
}
