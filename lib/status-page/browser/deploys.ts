const MAX_SHOWN = 100

/** What the router did lately, the latest first. */
class DeployList {
  readonly #list: HTMLElement

  constructor(list: HTMLElement) {
    this.#list = list
  }

  clear(): void {
    this.#list.replaceChildren()
  }

  add(deploys: readonly Deploy[]): void {
    for (const deploy of deploys) this.#list.prepend(itemOf(deploy))
    while (this.#list.childElementCount > MAX_SHOWN) this.#list.lastElementChild?.remove()
  }
}

function itemOf(deploy: Deploy): HTMLElement {
  const item = element('li')
  const time = element('time', '', timeOf(deploy.time))
  time.dateTime = deploy.time
  const what = element('span', deploy.event === 'error' ? 'error' : '', `${whatOf(deploy)} `)
  const name = element('b', '', deploy.hostnames.join(' ') || '-')
  const parts = [time, ' ', name, ' ', what, element('span', 'dim', deploy.realPath)]
  if (deploy.stack === null) {
    item.append(...parts)
    return item
  }
  const details = element('details')
  const summary = element('summary')
  summary.append(...parts)
  const stack = element('pre', '', deploy.stack)
  stack.tabIndex = 0
  stack.role = 'region'
  stack.ariaLabel = 'Stack'
  details.append(summary, stack)
  item.append(details)
  return item
}

function whatOf({ event, durationMs, reason, message, cause, serving }: Deploy): string {
  if (event === 'evict') return `evicted: ${reason}`
  if (event !== 'error')
    return `${event === 'load' ? 'loaded' : 'reloaded'} in ${Math.round(durationMs ?? 0)} ms`
  const why = cause === null ? message : `${message}: ${cause}`
  return `refused: ${why} (${serving === null ? 'nothing serves' : 'the release before it serves on'})`
}
