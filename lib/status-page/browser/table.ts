/** How many rows are in the document; the others are on further pages. */
const PAGE_SIZE = 50

/** What is broken comes first. */
const STATES = ['failed', 'serving older', 'loading', 'draining', 'evicted', 'serving']

interface Column {
  readonly title: string
  /** What rows are sorted by. */
  readonly value: (row: BoardRow) => string | number
  readonly text: (row: BoardRow) => string
  readonly className?: string
  /** The full text, if `text` leaves something out. */
  readonly whole?: (row: BoardRow) => string
}

const COLUMNS: readonly Column[] = [
  { title: 'host', value: nameOf, text: shortNameOf, whole: row => row.hostnames.join(' ') || row.realPath },
  {
    title: 'state',
    value: row => STATES.indexOf(row.state),
    text: stateOf,
    whole: stateOf,
    className: 'state',
  },
  {
    title: 'since',
    value: row => (row.since === null ? 0 : Date.parse(row.since)),
    text: row => ageOf(row.since),
    whole: row => `${timeOf(row.since)} UTC`,
    className: 'number',
  },
  {
    title: 'release',
    value: row => row.realPath,
    text: releaseOf,
    whole: row => row.realPath,
    className: 'wide release',
  },
  numberColumn(
    'rate',
    row => row.rate,
    row => rateOf(row.rate),
  ),
  numberColumn('requests', row => row.requests),
  numberColumn('in flight', row => row.inFlight),
  numberColumn('errors', row => row.errors),
  numberColumn(
    'load',
    row => row.loadDurationMs ?? -1,
    row => unit(row.loadDurationMs, 1, 'ms'),
  ),
  numberColumn(
    'memory',
    row => row.memory ?? -1,
    row => bytesOf(row.memory),
  ),
  numberColumn(
    'cpu',
    row => row.cpu ?? -1,
    row => unit(row.cpu, 1000, 's'),
  ),
  {
    title: 'isolation',
    value: row => row.isolation ?? '',
    text: row => row.isolation ?? '-',
    className: 'wide',
  },
]
const STATE = COLUMNS.findIndex(({ title }) => title === 'state')
/** Where the chart's column goes. */
const CHART = COLUMNS.findIndex(({ title }) => title === 'rate')
const ERRORS = COLUMNS.findIndex(({ title }) => title === 'errors')

interface Line {
  readonly tr: HTMLTableRowElement
  readonly cells: readonly HTMLElement[]
  readonly chart: SVGSVGElement
}

/** The vhosts, sorted, filtered and in pages. What stays the same stays in place, so that the focus is not lost. */
class VhostTable {
  readonly series = new Map<string, number[]>()
  readonly #rows = new Map<string, BoardRow>()
  /** The text that the filter searches, by row id. */
  readonly #haystacks = new Map<string, string>()
  /** By `#keyOf`, as are the details that are open. */
  readonly #lines = new Map<string, Line>()
  readonly #open = new Map<string, Details>()
  readonly #heads: HTMLTableCellElement[]
  readonly #body: HTMLTableSectionElement
  #sorted = STATE
  #isDescending = false
  #filter = ''
  #page = 0
  /** The names of all rows but those that load. */
  #names: ReadonlySet<string> = new Set()

  constructor(table: HTMLTableElement) {
    this.#body = table.tBodies[0] as HTMLTableSectionElement
    this.#heads = COLUMNS.map((column, i) => {
      const th = element('th', column.className)
      th.scope = 'col'
      const button = element('button', '', column.title)
      button.type = 'button'
      button.addEventListener('click', () => this.#sortBy(i))
      th.append(button)
      return th
    })
    const chart = element('th', 'wide', '5 minutes')
    chart.scope = 'col'
    const head = element('tr')
    head.append(...this.#heads.slice(0, CHART), chart, ...this.#heads.slice(CHART))
    table.tHead?.append(head)
  }

  get rows(): Iterable<BoardRow> {
    return this.#rows.values()
  }

  clear(): void {
    this.#rows.clear()
    this.#haystacks.clear()
    this.series.clear()
  }

  set(row: BoardRow): void {
    this.#rows.set(row.id, row)
    this.#haystacks.set(row.id, [...row.hostnames, stateOf(row), row.realPath].join(' ').toLowerCase())
  }

  /** Only the changed fields of a known row are sent. */
  change(row: BoardChange['rows'][number]): void {
    this.set({ ...this.#rows.get(row.id), ...row } as BoardRow)
  }

  delete(id: string): void {
    this.#rows.delete(id)
    this.#haystacks.delete(id)
  }

  /** Extends each series by the rate of its row. */
  addSample(): void {
    const rates = new Map<string, number>()
    for (const row of this.rows) {
      const name = row.hostnames[0]
      if (name !== undefined) rates.set(name, (rates.get(name) ?? 0) + row.rate)
    }
    for (const name of this.series.keys()) if (!rates.has(name)) this.series.delete(name)
    for (const [name, rate] of rates) {
      const rateSeries = this.series.get(name) ?? []
      rateSeries.push(rate)
      if (rateSeries.length > MAX_SAMPLES) rateSeries.shift()
      this.series.set(name, rateSeries)
    }
  }

  /** Shows the rows that contain a text, given in lower case. */
  filterBy(text: string): void {
    this.#filter = text
    this.#page = 0
    this.show()
  }

  turn(pages: number): void {
    this.#page += pages
    this.show()
  }

  show(): void {
    const others = [...this.rows].filter(({ state }) => state !== 'loading')
    this.#names = new Set(others.map(nameOf))
    const rows = this.#matching()
    const pages = Math.max(1, Math.ceil(rows.length / PAGE_SIZE))
    this.#page = Math.min(Math.max(0, this.#page), pages - 1)
    const shown = rows.slice(this.#page * PAGE_SIZE, (this.#page + 1) * PAGE_SIZE)
    for (const [i, th] of this.#heads.entries()) {
      if (i === this.#sorted) th.ariaSort = this.#isDescending ? 'descending' : 'ascending'
      else th.ariaSort = null
    }
    this.#place(shown.flatMap(row => this.#lineOf(row)))
    const keys = new Set(shown.map(row => this.#keyOf(row)))
    for (const key of this.#lines.keys()) if (!keys.has(key)) this.#lines.delete(key)
    showCount(rows.length, this.#rows.size, this.#page, pages)
  }

  #sortBy(column: number): void {
    // In columns of numbers, the highest come first.
    const isFirst = this.#sorted !== column
    this.#isDescending = isFirst
      ? COLUMNS[column]?.className?.startsWith('number') === true
      : !this.#isDescending
    this.#sorted = column
    this.show()
  }

  #matching(): BoardRow[] {
    const { value } = COLUMNS[this.#sorted] as Column
    const sign = this.#isDescending ? -1 : 1
    return [...this.#rows.values()]
      .filter(({ id }) => this.#filter === '' || this.#haystacks.get(id)?.includes(this.#filter))
      .map(row => ({ row, key: value(row), name: nameOf(row) }))
      .sort((one, other) => sign * compare(one.key, other.key) || compare(one.name, other.name))
      .map(({ row }) => row)
  }

  #lineOf(row: BoardRow): HTMLTableRowElement[] {
    const key = this.#keyOf(row)
    const line = this.#lines.get(key) ?? this.#makeLine(key)
    for (const [i, { text, whole }] of COLUMNS.entries()) {
      const cell = line.cells[i] as HTMLElement
      setText(cell, text(row))
      if (whole) setTitle(cell, whole(row))
      cell.classList.toggle('dim', cell.textContent === '0' || cell.textContent === '-')
    }
    ;(line.cells[STATE] as HTMLElement).className =
      `state ${row.state === 'serving older' ? 'older' : row.state}`
    line.cells[ERRORS]?.classList.toggle('error', row.errors > 0)
    const rates = this.series.get(key) ?? []
    drawChart(line.chart, rates)
    const details = this.#open.get(key)
    line.cells[0]?.setAttribute('aria-expanded', String(details !== undefined))
    if (!details) return [line.tr]
    details.show(row, rates)
    return [line.tr, details.tr]
  }

  /**
   * A vhost keeps one line through all its releases, so that the focus stays. A draining app no longer has a name, and a
   * release that loads at another path shares its name with what serves. No hostname contains a #.
   */
  #keyOf(row: BoardRow): string {
    const [name] = row.hostnames
    const isBeside = row.state === 'loading' && this.#names.has(nameOf(row))
    return name === undefined || isBeside ? `#${row.id}` : name
  }

  #makeLine(key: string): Line {
    const tr = element('tr')
    const name = element('button', 'name')
    name.type = 'button'
    name.addEventListener('click', () => {
      if (!this.#open.delete(key)) this.#open.set(key, new Details(COLUMNS.length + 1))
      this.show()
    })
    const th = element('th')
    th.scope = 'row'
    th.append(name)
    const others = COLUMNS.slice(1).map(({ className }) => element('td', className))
    const chart = makeChart(80, 18)
    const td = element('td', 'wide')
    td.append(chart)
    tr.append(th, ...others.slice(0, CHART - 1), td, ...others.slice(CHART - 1))
    const line = { tr, cells: [name, ...others], chart }
    this.#lines.set(key, line)
    return line
  }

  #place(wanted: readonly HTMLTableRowElement[]): void {
    const focused = document.activeElement
    const kept = new Set(wanted)
    for (const tr of [...this.#body.rows]) if (!kept.has(tr)) tr.remove()
    for (const [i, tr] of wanted.entries()) {
      const there = this.#body.rows[i]
      if (there !== tr) this.#body.insertBefore(tr, there ?? null)
    }
    if (!(focused instanceof HTMLElement) || focused === document.activeElement) return
    // An element that is moved loses the focus. If its row has gone, the user would start at the top of the page.
    const near = focused.isConnected ? focused : this.#body.closest<HTMLElement>('.scroll')
    near?.focus({ preventScroll: true })
  }
}

function numberColumn(
  title: string,
  value: (row: BoardRow) => number,
  text = (row: BoardRow): string => digits.format(value(row)),
): Column {
  return { title, value, text, className: title === 'rate' ? 'number' : 'number wide' }
}

function compare(one: string | number, other: string | number): number {
  return one < other ? -1 : one > other ? 1 : 0
}
