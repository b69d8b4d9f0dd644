const FACTS: readonly (readonly [title: string, text: (row: BoardRow) => string])[] = [
  ['hostnames', row => row.hostnames.join(' ') || '-'],
  ['real path', row => row.realPath],
  ['version', row => String(row.version ?? '-')],
  ['state', row => stateOf(row)],
  ['loaded', row => timeOf(row.loadedAt)],
  ['isolation', row => row.isolation ?? '-'],
  ['process or thread', row => String(row.pid ?? row.threadId ?? '-')],
  ['in flight', row => String(row.inFlight)],
  ['errors', row => String(row.errors)],
  ['load', row => unit(row.loadDurationMs, 1, 'ms')],
  ['memory', row => unit(row.memory, 2 ** 20, 'MiB')],
  ['cpu', row => unit(row.cpu, 1000, 's')],
  ['restarts', row => String(row.restarts)],
  ['last exit', row => (row.lastExit ? JSON.stringify(row.lastExit) : '-')],
]

/** The row below a vhost's: all that is known of it, why its newest release was refused, and a button to load it anew. */
class Details {
  readonly tr: HTMLTableRowElement = element('tr', 'details')
  readonly #facts: HTMLElement[]
  readonly #chart = makeChart(600, 80)
  readonly #error = element('p', 'error')
  readonly #stack = element('pre')
  readonly #button = element('button', '', 'Reload')
  readonly #outcome = element('span')
  #host = ''

  constructor(columns: number) {
    const td = element('td')
    td.colSpan = columns
    const list = element('dl')
    this.#facts = FACTS.map(([title]) => {
      const pair = element('div')
      const dd = element('dd')
      pair.append(element('dt', '', title), dd)
      list.append(pair)
      return dd
    })
    // Reached by keyboard, as what can be scrolled must be.
    this.#stack.tabIndex = 0
    this.#stack.role = 'region'
    this.#stack.ariaLabel = 'Stack of the last error'
    this.#chart.setAttribute('preserveAspectRatio', 'none')
    this.#chart.setAttribute('width', '100%')
    this.#button.type = 'button'
    this.#button.addEventListener('click', () => void this.#reload())
    this.#outcome.role = 'status'
    const actions = element('p')
    actions.append(this.#button, ' ', this.#outcome)
    // As wide as the window, where the table is wider.
    const box = element('div')
    box.append(list, this.#chart, this.#error, this.#stack, actions)
    td.append(box)
    this.tr.append(td)
  }

  show(row: BoardRow, rates: readonly number[]): void {
    this.#host = row.hostnames[0] ?? ''
    this.#button.hidden = this.#host === ''
    for (const [i, [, text]] of FACTS.entries()) setText(this.#facts[i] as HTMLElement, text(row))
    drawChart(this.#chart, rates)
    const { lastError } = row
    setText(
      this.#error,
      lastError
        ? `${lastError.code}: ${lastError.message}${lastError.cause ? `: ${lastError.cause}` : ''}`
        : '',
    )
    setText(this.#stack, lastError?.stack ?? '')
    this.#error.hidden = !lastError
    this.#stack.hidden = !lastError?.stack
  }

  async #reload(): Promise<void> {
    const start = performance.now()
    this.#button.disabled = true
    this.#outcome.className = 'dim'
    this.#outcome.textContent = 'reloading'
    try {
      const { isOk, body } = await ask<{ message?: string; cause?: string | null }>(
        'POST',
        'reload',
        this.#host,
      )
      const text = `${body.message ?? 'failed'}${body.cause ? `: ${body.cause}` : ''}`
      this.#outcome.className = isOk ? 'serving' : 'error'
      this.#outcome.textContent = isOk ? `reloaded in ${Math.round(performance.now() - start)} ms` : text
    } catch {
      this.#outcome.className = 'error'
      this.#outcome.textContent = 'the server does not answer'
    }
    this.#button.disabled = false
    this.#button.focus()
  }
}

/** Asks the server about a host, or has it do something. */
async function ask<Body>(method: string, verb: string, host: string): Promise<{ isOk: boolean; body: Body }> {
  const token = document.querySelector<HTMLMetaElement>('meta[name=status-token]')?.content ?? ''
  const response = await fetch(`${verb}?host=${encodeURIComponent(host)}`, {
    method,
    headers: method === 'POST' ? { 'X-Status-Token': token } : {},
  })
  return { isOk: response.ok, body: (await response.json()) as Body }
}
