/**
 * The names of the environment variables that an app wrote while it was loaded. Those written by its synchronous code
 * are certainly its own. While several loads wait, a variable that none of them wrote synchronously is attributed to
 * each.
 */
export class EnvironmentWrites {
  readonly #names = new Set<string>()
  /** What other loads are known to have written meanwhile. */
  readonly #foreign = new Set<string>()
  #before: Environment = present()

  constructor() {
    underWay.add(this)
  }

  get names(): readonly string[] {
    return [...this.#names].sort()
  }

  /** Adds what was written since this began, or since the last call. Nothing else may have run in between. */
  claim(): void {
    const now = present()
    for (const name of differences(this.#before, now)) {
      this.#names.add(name)
      for (const other of underWay) if (other !== this) other.#foreign.add(name)
    }
    this.#before = now
  }

  /** The load is over, or no longer waited for. Adds what was written meanwhile and by nobody else. */
  end(): void {
    if (!underWay.delete(this)) return
    for (const name of differences(this.#before, present())) {
      if (!this.#foreign.has(name)) this.#names.add(name)
    }
    this.#before = new Map()
  }
}

// The process has one environment, whichever router loads.
const underWay = new Set<EnvironmentWrites>()

type Environment = ReadonlyMap<string, string | undefined>

// `{ ...process.env }` takes seven times as long.
function present(): Environment {
  return new Map(Object.keys(process.env).map(name => [name, process.env[name]]))
}

function differences(before: Environment, now: Environment): string[] {
  const names = new Set([...before.keys(), ...now.keys()])
  return [...names].filter(name => before.get(name) !== now.get(name))
}
