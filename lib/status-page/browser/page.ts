function byId<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T
}

const table = new VhostTable(byId<HTMLTableElement>('vhosts'))
const deployList = new DeployList(byId('deploys'), byId('deploys-count'))
const filter = byId<HTMLInputElement>('filter')
const totals = new Map<string, HTMLElement>()
const title = document.title

filter.addEventListener('input', () => {
  const text = filter.value.trim().toLowerCase()
  speakCount(true)
  table.filterBy(text)
  deployList.filterBy(text)
})
byId('previous').addEventListener('click', () => turn(-1))
byId('next').addEventListener('click', () => turn(1))
byId('why').addEventListener('submit', event => {
  event.preventDefault()
  void explain(byId<HTMLInputElement>('host').value)
})
// With a modifier: a character alone is also what speech input types (WCAG 2.1.4).
document.addEventListener('keydown', event => {
  if (event.key !== '/' || !event.ctrlKey) return
  event.preventDefault()
  filter.focus()
})

/** How long until the next attempt to load the page again, in milliseconds. */
const LOAD_AGAIN = 10_000
/**
 * In milliseconds: the server sends something every two seconds, and after its end a browser asks again within five.
 */
const SILENCE = 10_000

// The browser reconnects by itself; each time, a full snapshot comes first.
const source = new EventSource('events')
let silence: ReturnType<typeof setTimeout> | undefined
let server = ''
source.addEventListener('error', () => {
  // A browser gives up after an answer that is no stream.
  if (source.readyState !== EventSource.CLOSED) return
  showOld()
  setTimeout(() => void loadAgain(), LOAD_AGAIN)
})
source.addEventListener('snapshot', ({ data, lastEventId }) => {
  // A restarted server refuses this page's token, and may be of another version.
  if (server !== '' && server !== lastEventId) return location.reload()
  server = lastEventId
  showLive()
  const { time, rows, series, deploys, ...figures } = JSON.parse(data) as BoardSnapshot
  setClock(time)
  table.clear()
  for (const row of rows) table.set(row)
  for (const [name, rates] of Object.entries(series)) table.series.set(name, [...rates])
  deployList.set(deploys)
  show(figures)
})
source.addEventListener('change', ({ data }) => {
  showLive()
  const { rows, gone, samples, deploys, ...figures } = JSON.parse(data) as BoardChange
  for (const id of gone) table.delete(id)
  for (const row of rows) table.change(row)
  for (let i = 0; i < samples; i++) table.addSample()
  deployList.add(deploys)
  show(figures)
})

/**
 * Loads the page again once there is room for it, or the user has to log in. A proxy's error page would stay for ever.
 * If too many pages are open, this one would be loaded again and again.
 */
async function loadAgain(): Promise<void> {
  const response = await fetch('events', { method: 'HEAD' }).catch(() => undefined)
  if (response?.ok || response?.status === 401) location.reload()
  else setTimeout(() => void loadAgain(), LOAD_AGAIN)
}

function turn(pages: number): void {
  speakCount(true)
  table.turn(pages)
}

/** A screen reader announces the count that a user has asked for, not that of each load. */
function speakCount(isAsked: boolean): void {
  byId('count').ariaLive = isAsked ? 'polite' : 'off'
}

function show({ totals, staleGraphs }: Pick<BoardChange, 'totals' | 'staleGraphs'>): void {
  speakCount(false)
  table.show()
  const rows = [...table.rows]
  const older = rows.filter(({ state }) => state === 'serving older').length
  const memory = rows.reduce((sum, row) => sum + (row.memory ?? 0), 0)
  const rate = rows.reduce((sum, row) => sum + row.rate, 0)
  showTotal('failed', digits.format(totals.failed), totals.failed > 0)
  showTotal('serving older', digits.format(older), older > 0)
  showTotal('apps', digits.format(totals.apps))
  showTotal('draining', digits.format(totals.draining))
  showTotal('hostnames', digits.format(totals.hostnames))
  showTotal('rate', rateOf(rate))
  showTotal('requests', digits.format(totals.requests))
  showTotal('in flight', digits.format(totals.inFlight))
  showTotal('errors', digits.format(totals.errors))
  if (memory > 0) showTotal('memory', bytesOf(memory))
  if (staleGraphs > 0) showTotal('stale graphs', digits.format(staleGraphs))
  const broken = totals.failed + older
  document.title = broken > 0 ? `(${broken}) ${title}` : title
}

function showLive(): void {
  clearTimeout(silence)
  silence = setTimeout(showOld, SILENCE)
  showConnection('live', 'serving')
}

function showOld(): void {
  showConnection('disconnected: what is shown is old', 'error')
}

function showConnection(text: string, className: string): void {
  const connection = byId('connection')
  setText(connection, text)
  connection.className = className
}

function showTotal(name: string, value: string, isBad = false): void {
  let dd = totals.get(name)
  if (!dd) {
    dd = element('dd')
    const pair = element('div')
    pair.append(element('dt', '', name), dd)
    byId('totals').append(pair)
    totals.set(name, dd)
  }
  setText(dd, value)
  dd.className = isBad ? 'error' : value === '0' ? 'dim' : ''
}

function showCount(matching: number, all: number, page: number, pages: number): void {
  const rows = `${all} ${all === 1 ? 'row' : 'rows'}`
  const which = matching === all ? rows : `${matching} of ${rows}`
  const empty = byId('empty')
  empty.hidden = matching > 0
  setText(
    empty,
    all === 0 ? 'Nothing is loaded yet: the first request to a vhost loads it.' : 'Nothing matches.',
  )
  setText(byId('count'), pages > 1 ? `${which}, page ${page + 1} of ${pages}` : which)
  // A truly disabled button would lose the focus.
  byId('previous').ariaDisabled = String(page === 0)
  byId('next').ariaDisabled = String(page === pages - 1)
  ;(document.querySelector('.pages') as HTMLElement).hidden = pages === 1
}

let lastQuestion = 0

async function explain(host: string): Promise<void> {
  const body = byId<HTMLTableElement>('steps').tBodies[0] as HTMLTableSectionElement
  byId<HTMLInputElement>('host').value = host
  const question = ++lastQuestion
  const rows = await stepsOf(host)
  // A later question has been answered first.
  if (question !== lastQuestion) return
  body.replaceChildren(
    ...rows.map(([step, text]) => {
      const tr = element('tr')
      const th = element('th', '', step)
      th.scope = 'row'
      tr.append(th, element('td', '', text))
      return tr
    }),
  )
  byId('explanation').hidden = false
  byId('why-title').scrollIntoView({ block: 'nearest' })
}

async function stepsOf(host: string): Promise<[step: string, text: string][]> {
  try {
    return (await ask<{ steps: [string, string][] }>('GET', 'why', host)).body.steps
  } catch (error) {
    return [['error', (error as Error).message]]
  }
}
