/**
 * The names of the environment variables that an app wrote while it was loaded. Of what it ran at once they are its
 * own for certain; where several loads wait at a time, what none of them ran at once is told of each.
 */
export class EnvironmentWrites {
  readonly #names = new Set<string>()
  /** What other loads are known to have written meanwhile. */
  readonly #foreign = new Set<string>()
  #before: NodeJS.ProcessEnv = { ...process.env }

  constructor() {
    underWay.add(this)
  }

  get names(): readonly string[] {
    return [...this.#names].sort()
  }

  /** What was written since this began, or since it was last called, with nothing else run in between. */
  claim(): void {
    const now = { ...process.env }
    for (const name of differences(this.#before, now)) {
      this.#names.add(name)
      for (const other of underWay) if (other !== this) other.#foreign.add(name)
    }
    this.#before = now
  }

  /** The load is over: what was written meanwhile, and by nobody else. */
  end(): void {
    underWay.delete(this)
    for (const name of differences(this.#before, process.env)) {
      if (!this.#foreign.has(name)) this.#names.add(name)
    }
    this.#before = {}
  }
}

// There is one environment, whichever router loads.
const underWay = new Set<EnvironmentWrites>()

function differences(before: NodeJS.ProcessEnv, now: NodeJS.ProcessEnv): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(now)])
  return [...names].filter(name => before[name] !== now[name])
}
