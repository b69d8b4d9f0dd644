type Fact = readonly [title: string, text: (row: BoardRow) => string]

/** What may be long gets a line of its own. */
const PLACES: readonly Fact[] = [
  ['hostnames', row => row.hostnames.join(' ') || '-'],
  ['release', row => row.realPath],
  ['version', row => String(row.version ?? '-')],
]

const FACTS: readonly Fact[] = [
  ['state', row => row.state],
  ['loaded (UTC)', row => timeOf(row.loadedAt)],
  ['load', row => unit(row.loadDurationMs, 1, 'ms')],
  ['isolation', row => row.isolation ?? '-'],
  ['process or thread', row => String(row.pid ?? row.threadId ?? '-')],
  ['memory', row => bytesOf(row.memory)],
  ['cpu', row => unit(row.cpu, 1000, 's')],
  ['requests', row => digits.format(row.requests)],
  ['in flight', row => digits.format(row.inFlight)],
  ['errors', row => digits.format(row.errors)],
  ['restarts', row => digits.format(row.restarts)],
  ['last exit', row => (row.lastExit ? JSON.stringify(row.lastExit) : '-')],
]

/** The row below a vhost's: why its newest release was refused, all that is known of the vhost, and buttons. */
class Details {
  readonly tr: HTMLTableRowElement = element('tr', 'details')
  readonly #facts: [dd: HTMLElement, text: Fact[1]][] = []
  readonly #chart = makeChart(600, 60)
  readonly #caption = element('figcaption', 'dim')
  readonly #error = element('p', 'error')
  readonly #stack = element('pre')
  readonly #button = element('button', '', 'Reload')
  readonly #why = element('button', '', 'Why')
  readonly #outcome = element('span')
  #host = ''

  constructor(columns: number) {
    const td = element('td')
    td.colSpan = columns
    // What can be scrolled must be reachable by keyboard.
    this.#stack.tabIndex = 0
    this.#stack.role = 'region'
    this.#stack.ariaLabel = 'Stack of the last error'
    this.#chart.setAttribute('preserveAspectRatio', 'none')
    this.#chart.setAttribute('width', '100%')
    const figure = element('figure')
    figure.append(this.#caption, this.#chart)
    this.#button.type = 'button'
    this.#button.addEventListener('click', () => void this.#reload())
    this.#why.type = 'button'
    this.#why.addEventListener('click', () => void explain(this.#host))
    this.#outcome.role = 'status'
    const actions = element('p')
    actions.append(this.#button, ' ', this.#why, ' ', this.#outcome)
    // As wide as the window if the table is wider.
    const box = element('div')
    box.append(this.#error, this.#stack, this.#listOf(PLACES, 'places'), this.#listOf(FACTS), figure, actions)
    td.append(box)
    this.tr.append(td)
  }

  show(row: BoardRow, rates: readonly number[]): void {
    this.#host = row.hostnames[0] ?? ''
    this.#button.hidden = this.#host === ''
    this.#why.hidden = this.#host === ''
    for (const [dd, text] of this.#facts) setText(dd, text(row))
    drawChart(this.#chart, rates)
    setText(this.#caption, `requests a second, at most ${rateOf(Math.max(0, ...rates))} in five minutes`)
    const { lastError } = row
    setText(this.#error, lastError ? refusalOf(lastError) : '')
    setText(this.#stack, lastError?.stack ?? '')
    this.#error.hidden = !lastError
    this.#stack.hidden = !lastError?.stack
  }

  #listOf(facts: readonly Fact[], className = ''): HTMLElement {
    const list = element('dl', className)
    for (const [title, text] of facts) {
      const pair = element('div')
      const dd = element('dd')
      pair.append(element('dt', '', title), dd)
      list.append(pair)
      this.#facts.push([dd, text])
    }
    return list
  }

  async #reload(): Promise<void> {
    if (this.#button.ariaDisabled === 'true') return
    const start = performance.now()
    // A truly disabled button would lose the focus, and the user may be elsewhere when it is enabled again.
    this.#button.ariaDisabled = 'true'
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
    } catch (error) {
      this.#outcome.className = 'error'
      this.#outcome.textContent = (error as Error).message
    }
    this.#button.ariaDisabled = 'false'
  }
}

function refusalOf({ code, message, cause, realPath, since }: NonNullable<BoardRow['lastError']>): string {
  const what = `${realPath ?? 'the newest release'} was refused at ${timeOf(since)} UTC`
  return `${what}: ${code}: ${message}${cause ? `: ${cause}` : ''}`
}
