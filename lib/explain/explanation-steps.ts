import { STATUS_CODES } from 'node:http'
import type { VhostExplanation } from '../explain.ts'
import { placeOf } from '../values/thrown.ts'

/**
 * What `why()` found, from the Host as it was sent to what a request would get: each step with a name and one line of
 * text, in the words of the command line and of the status page. A step that was not reached is `-`.
 */
export function explanationSteps(explanation: VhostExplanation): [step: string, text: string][] {
  const { hostname, refusal, patterns, vhostPath, realPath, version, entry, error } = explanation
  const { environmentWrites, notes } = explanation
  const steps: [string, string | null][] = [
    ['host', hostOf(explanation)],
    ['hostname', refusal === null ? hostname : `refused: ${refusal}`],
    ['patterns', patterns.join(', ') || null],
    ['path', vhostPath],
    ['real path', realPath],
    ['version', version === null ? null : String(version)],
    ['entry', entry],
    ['state', stateOf(explanation)],
    ...(error ? [['error', errorOf(error)] satisfies [string, string]] : []),
    ['request', requestOf(explanation)],
    ...(environmentWrites.length > 0
      ? [['environment', `wrote ${environmentWrites.join(', ')}`] satisfies [string, string]]
      : []),
    ...notes.map((note): [string, string] => ['note', note]),
  ]
  return steps.map(([step, text]) => [step, (text ?? '-').split('\n', 1)[0] as string])
}

/** The Host as it was sent; quoted and escaped to ASCII if one could not see what it is. */
function hostOf({ host }: VhostExplanation): string | null {
  if (host === null || /^[\x21-\x7e]+$/.test(host)) return host
  return JSON.stringify(host).replace(
    /[^\x20-\x7e]/g,
    unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function stateOf({ state, outcome }: VhostExplanation): string | null {
  return state === null && outcome === 'app' ? 'not loaded yet' : state
}

function errorOf(error: NonNullable<VhostExplanation['error']>): string {
  const { code, message, cause, realPath } = error
  const place = realPath === null ? null : placeOf(error, realPath)
  // Only the first line of what was thrown, so that the place stays on the line.
  const [thrown = ''] = (cause ?? '').split('\n', 1)
  return `${code}: ${message}${cause === null ? '' : `: ${thrown}`}${place === null ? '' : `, at ${place}`}`
}

function requestOf({ host, outcome, status }: VhostExplanation): string {
  const phrase = `${status} ${STATUS_CODES[status]}`
  if (status === 503) return `${phrase}, for now`
  if (outcome === 'no app') return `${phrase}, or a file: this vhost has no app`
  if (outcome === 'no vhost' && status === 404)
    return `${phrase}: ${host === null ? 'it has no Host' : 'no vhost has this name'}`
  return status === 200 ? "the app's own answer" : phrase
}
