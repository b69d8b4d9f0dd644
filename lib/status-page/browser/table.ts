/** So many rows stand in the document; the others are a page on. */
const PAGE_SIZE = 50

interface Column {
  readonly title: string
  /** What it is sorted by. */
  readonly value: (row: BoardRow) => string | number
  readonly text: (row: BoardRow) => string
  readonly className?: string
}

const COLUMNS: readonly Column[] = [
  { title: 'host', value: nameOf, text: nameOf },
  { title: 'state', value: stateOf, text: stateOf, className: 'state' },
  { title: 'since (UTC)', value: row => row.since ?? '', text: row => timeOf(row.since) },
  { title: 'release', value: row => row.realPath, text: row => releaseOf(row), className: 'wide' },
  {
    title: 'isolation',
    value: row => row.isolation ?? '',
    text: row => row.isolation ?? '-',
    className: 'wide',
  },
  numberColumn('requests', row => row.requests),
  numberColumn(
    'rate',
    row => row.rate,
    row => `${row.rate}/s`,
  ),
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
    row => unit(row.memory, 2 ** 20, 'MiB'),
  ),
  numberColumn(
    'cpu',
    row => row.cpu ?? -1,
    row => unit(row.cpu, 1000, 's'),
  ),
]

interface Line {
  readonly tr: HTMLTableRowElement
  readonly cells: readonly HTMLElement[]
  readonly chart: SVGSVGElement
}

/** The vhosts, sorted, filtered and by pages. What is the same stays in place, so that a focus is not lost. */
class VhostTable {
  readonly series = new Map<string, number[]>()
  readonly #rows = new Map<string, BoardRow>()
  /** What a filter is looked for in. */
  readonly #haystacks = new Map<string, string>()
  readonly #lines = new Map<string, Line>()
  /** The hostnames whose details are open. */
  readonly #open = new Map<string, Details>()
  readonly #heads: HTMLTableCellElement[]
  readonly #body: HTMLTableSectionElement
  #sorted = 0
  #isDescending = false
  #filter = ''
  #page = 0

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
    const chart = element('th', 'wide', 'last minutes')
    chart.scope = 'col'
    const head = element('tr')
    head.append(...this.#heads, chart)
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

  /** A row that is known is told in part. */
  change(row: BoardChange['rows'][number]): void {
    this.set({ ...this.#rows.get(row.id), ...row } as BoardRow)
  }

  delete(id: string): void {
    this.#rows.delete(id)
    this.#haystacks.delete(id)
  }

  /** Lets each series go on by the rate of its row. */
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

  filterBy(text: string): void {
    this.#filter = text.trim().toLowerCase()
    this.#page = 0
    this.show()
  }

  turn(pages: number): void {
    this.#page += pages
    this.show()
  }

  show(): void {
    const rows = this.#matching()
    const pages = Math.max(1, Math.ceil(rows.length / PAGE_SIZE))
    this.#page = Math.min(Math.max(0, this.#page), pages - 1)
    const shown = rows.slice(this.#page * PAGE_SIZE, (this.#page + 1) * PAGE_SIZE)
    for (const [i, th] of this.#heads.entries()) {
      if (i === this.#sorted) th.ariaSort = this.#isDescending ? 'descending' : 'ascending'
      else th.ariaSort = null
    }
    this.#place(shown.flatMap(row => this.#lineOf(row)))
    const keys = new Set(shown.map(keyOf))
    for (const key of this.#lines.keys()) if (!keys.has(key)) this.#lines.delete(key)
    showCount(rows.length, this.#rows.size, this.#page, pages)
  }

  #sortBy(column: number): void {
    this.#isDescending = this.#sorted === column && !this.#isDescending
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
    const line = this.#lines.get(keyOf(row)) ?? this.#makeLine(row)
    for (const [i, { text }] of COLUMNS.entries()) setText(line.cells[i] as HTMLElement, text(row))
    const state = line.cells[1] as HTMLElement
    state.className = `state ${row.state === 'serving older' ? 'older' : row.state}`
    state.title = stateOf(row)
    drawChart(line.chart, this.series.get(nameOf(row)) ?? [])
    const details = this.#open.get(nameOf(row))
    line.cells[0]?.setAttribute('aria-expanded', String(details !== undefined))
    if (!details) return [line.tr]
    details.show(row, this.series.get(nameOf(row)) ?? [])
    return [line.tr, details.tr]
  }

  #makeLine(row: BoardRow): Line {
    const tr = element('tr')
    const name = element('button', 'name')
    name.type = 'button'
    const key = nameOf(row)
    name.addEventListener('click', () => {
      if (!this.#open.delete(key)) this.#open.set(key, new Details(COLUMNS.length + 1))
      this.show()
    })
    const th = element('th')
    th.scope = 'row'
    th.append(name)
    const others = COLUMNS.slice(1).map(({ className }) => element('td', className))
    const chart = makeChart(120, 22)
    const last = element('td', 'wide')
    last.append(chart)
    tr.append(th, ...others, last)
    const line = { tr, cells: [name, ...others], chart }
    this.#lines.set(keyOf(row), line)
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
    // An element that is moved loses the focus.
    if (focused instanceof HTMLElement && focused !== document.activeElement && focused.isConnected) {
      focused.focus({ preventScroll: true })
    }
  }
}

/** One line for a vhost through all its releases, so that a focus stays; what drains has no name any more. */
function keyOf({ hostnames, id }: BoardRow): string {
  return hostnames[0] ?? id
}

function nameOf({ hostnames, realPath }: BoardRow): string {
  return hostnames[0] ?? realPath
}

function stateOf({ state, lastError, reason }: BoardRow): string {
  if (state === 'serving older' && lastError) return `${state}: refused: ${lastError.message}`
  if (state === 'failed' && lastError) return `${state}: ${lastError.message}`
  return state === 'evicted' ? `${state}: ${reason}` : state
}

/** The last two parts of its path: what a `releases` folder tells apart. */
function releaseOf({ realPath }: BoardRow): string {
  return realPath.split(/[\\/]/).slice(-2).join('/')
}

function timeOf(iso: string | null): string {
  return iso === null ? '-' : iso.slice(0, 19).replace('T', ' ')
}

function unit(value: number | null, divisor: number, name: string): string {
  return value === null ? '-' : `${Math.round(value / divisor)} ${name}`
}

function numberColumn(
  title: string,
  value: (row: BoardRow) => number,
  text = (row: BoardRow): string => String(value(row)),
): Column {
  return {
    title,
    value,
    text,
    className: title === 'rate' || title === 'requests' ? 'number' : 'number wide',
  }
}

function compare(one: string | number, other: string | number): number {
  return one < other ? -1 : one > other ? 1 : 0
}

function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text
}
