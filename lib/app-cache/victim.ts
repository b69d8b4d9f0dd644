import type { App } from '../app.ts'
import { leastRecent } from '../uses.ts'

/** The share of apps, least recently used first, among which the victim is chosen. */
const ELIGIBLE = 0.9
/** Among fewer apps the least recently used one goes, since nine tenths of them are all but one. */
const CROWD = 10

/**
 * The app to evict for another one; undefined if every one is busy. Among many, it is the least requested of the nine
 * tenths that are least recently used: so those in use stay, however many others a stranger opens once. Apps that Node
 * would keep in memory go last.
 */
export function chooseVictim(apps: readonly App[]): App | undefined {
  const until = leastRecent(apps, Math.floor(apps.length * ELIGIBLE))
  const isCrowd = apps.length >= CROWD
  let victim: App | undefined
  for (const app of apps) {
    if (!app.isBusy && (!victim || goesBefore(app, victim, until, isCrowd))) victim = app
  }
  return victim
}

function goesBefore(app: App, other: App, until: number, isCrowd: boolean): boolean {
  const isEligible = app.usedAt <= until
  if (isEligible !== other.usedAt <= until) return isEligible
  if (isEligible && app.isKeptByNode !== other.isKeptByNode) return other.isKeptByNode
  if (isEligible && isCrowd && app.uses !== other.uses) return app.uses < other.uses
  return app.usedAt < other.usedAt
}
