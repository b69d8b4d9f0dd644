import type { AppCache } from './app-cache.ts'
import type { Counters } from './counters.ts'
import type { VhostStats } from './stats.ts'

type Labels = Readonly<Record<string, string>>

interface Metric {
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly help: string
  readonly samples: readonly (readonly [labels: Labels, value: number])[]
}

/**
 * What the router knows, in Prometheus's text format, version 0.0.4. The label `hostname` is the name an app was loaded
 * for; names that lead nowhere are no label, so strangers cannot create series.
 */
export function formatMetrics(stats: VhostStats, apps: AppCache, counters: Counters): string {
  return describe(stats, apps, counters).map(format).join('')
}

function describe(stats: VhostStats, apps: AppCache, counters: Counters): Metric[] {
  const { totals } = stats
  const running = [...apps.apps, ...apps.draining]
  const names = [...new Set([...counters.endedNames, ...running.map(app => app.name)])]
  const total = (key: 'requests' | 'errors' | 'cut'): Metric['samples'] => {
    const values = new Map(names.map(name => [name, counters.ended(name)[key]]))
    for (const app of running) values.set(app.name, (values.get(app.name) as number) + app[key])
    return byHostname(values)
  }
  return [
    counter('requests_total', 'Requests and upgrades handed to apps', total('requests')),
    counter(
      'request_errors_total',
      'Requests that ended in an error which the app passed on',
      total('errors'),
    ),
    counter(
      'cut_requests_total',
      'Requests that were cut as they had not ended within drainTimeout',
      total('cut'),
    ),
    counter(
      'unrouted_requests_total',
      'Requests and upgrades with a Host that were handed to no app',
      labelled('reason', Object.entries(counters.unrouted)),
    ),
    counter('loads_total', 'Apps loaded when none served', plain(counters.loads)),
    counter('reloads_total', 'Releases that took the place of another', plain(counters.reloads)),
    counter('evictions_total', 'Apps that were let go', labelled('reason', [...counters.evictions])),
    counter('errors_total', 'Events of kind error', labelled('code', [...counters.errors])),
    gauge(
      'requests_in_flight',
      'Requests and upgraded sockets that have not ended',
      byHostname(sumOf(running.map(app => [app.name, app.inFlight]))),
    ),
    gauge(
      'load_duration_seconds',
      'How long the load of what serves took',
      byHostname(new Map(apps.apps.map(app => [app.name, app.loadDurationMs / 1000]))),
    ),
    gauge(
      'release_refused',
      '1 if the newest release does not load or cannot be read, whether or not an older one serves',
      byHostname(refusals(stats, apps)),
    ),
    gauge(
      'apps',
      'Apps by state',
      labelled('state', [
        ['serving', totals.apps],
        ['draining', totals.draining],
        ['failed', totals.failed],
      ]),
    ),
    gauge(
      'memory_bytes',
      'Of apps with a process or thread of their own: resident memory, or the heap of a thread',
      figuresOf(apps, 'memory'),
    ),
    counter(
      'cpu_seconds_total',
      'Processor time of apps with a process or thread of their own, since that started',
      figuresOf(apps, 'cpu').map(([labels, milliseconds]) => [labels, milliseconds / 1000]),
    ),
    gauge('hostnames', 'Hostnames that lead to an app', plain(totals.hostnames)),
    gauge(
      'stale_module_graphs',
      'ES module graphs that Node keeps and nobody uses',
      plain(stats.staleGraphs),
    ),
  ]
}

function figuresOf(apps: AppCache, figure: 'memory' | 'cpu'): Metric['samples'] {
  const known = apps.apps.flatMap(({ name, figures }): [string, number][] => {
    const value = figures?.[figure]
    return typeof value === 'number' ? [[name, value]] : []
  })
  return byHostname(sumOf(known))
}

function refusals(stats: VhostStats, apps: AppCache): Map<string, number> {
  const refused = new Map<string, number>(apps.apps.map(app => [app.name, 0]))
  for (const { state, hostnames, realPath } of stats.vhosts) {
    const name = apps.peek(realPath)?.name ?? hostnames[0]
    if ((state === 'failed' || state === 'serving older') && name !== undefined) refused.set(name, 1)
  }
  return refused
}

function counter(name: string, help: string, samples: Metric['samples']): Metric {
  return { name, type: 'counter', help, samples }
}

function gauge(name: string, help: string, samples: Metric['samples']): Metric {
  return { name, type: 'gauge', help, samples }
}

function plain(value: number): Metric['samples'] {
  return [[{}, value]]
}

function labelled(label: string, values: readonly (readonly [string, number])[]): Metric['samples'] {
  return values.map(([value, count]) => [{ [label]: value }, count])
}

function byHostname(values: ReadonlyMap<string, number>): Metric['samples'] {
  return labelled('hostname', [...values])
}

function sumOf(values: readonly (readonly [string, number])[]): Map<string, number> {
  const sums = new Map<string, number>()
  for (const [name, value] of values) sums.set(name, (sums.get(name) ?? 0) + value)
  return sums
}

function format({ name, type, help, samples }: Metric): string {
  const lines = samples.map(([labels, value]) => `express_van_${name}${formatLabels(labels)} ${value}\n`)
  return `# HELP express_van_${name} ${help}\n# TYPE express_van_${name} ${type}\n${lines.join('')}`
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${escaped(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
