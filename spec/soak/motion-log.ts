import { clock } from './clock.ts'

/** What a request for a name finds on disk. `absent`: no vhost or no app folder. `broken`: it does not load. */
export type Find =
  | { readonly kind: 'good'; readonly entry: string; readonly lib: string }
  | { readonly kind: 'broken' }
  | { readonly kind: 'absent' }

/** What was on disk for a name during a period of the clock, never according to the router. */
export interface State {
  readonly index: number
  readonly find: Find
  readonly motion: string
  /** The time before the system call that brought the state about. */
  readonly from: number
  /** The time after that call. */
  done: number
  /** The same, in time during which the server was able to work. */
  doneForServer: number
  /** The time after the call that ended the state. */
  until: number
  /** Whether the router should notice: a changed file in `lib/` is not seen until something else changes. */
  readonly isSeen: boolean
  /** Whether only what was loaded afterwards counts, although nothing in it has changed. */
  readonly isFresh: boolean
}

/** What a site's app says about itself. Times are by the clock. */
export interface About {
  readonly site: string
  readonly vhost: string
  readonly entry: string
  readonly lib: string
  /** When the modules were evaluated. */
  readonly entryAt: number
  readonly libAt: number
  /** When the app got the request. */
  readonly took: number
  /** Whether the app's own `close()` had been called when it answered. */
  readonly isClosed: boolean
  readonly bytes?: number
}

export interface Answer {
  readonly path: string
  readonly asked: Asked
  /** When the whole answer had arrived. */
  readonly end: number
  /** 0 if no answer came. */
  readonly status: number
  readonly about?: About | undefined
  /** The body of an unsuccessful answer, or why no answer came. */
  readonly text: string
}

/** What was known of a name when a request for it began. */
export interface Asked {
  readonly start: number
  /** No state before this one may answer. */
  readonly floor: number
  /** Whether the router had an app for the name, so that it must go on serving it. */
  readonly isWarm: boolean
}

export interface Violation {
  readonly name: string
  readonly rule: string
  readonly answer: Answer | undefined
  readonly log: string
}

export interface Rules {
  /** A deploy must be live within this many milliseconds during which the server was able to work. */
  readonly bound: number
  /** The milliseconds so far during which the server was able to work: the machine may be busy with other things. */
  serverTime(): number
}

/** In milliseconds: something counts as gone when seen missing twice, this far apart. */
const GONE_AFTER = 250
/** In milliseconds: two modules of one app are evaluated within this time. */
const LOADED_WITHIN = 5000
/** In milliseconds: what is back for no longer than this may be missed. */
const UNNOTICED = 200
/** In milliseconds: a file may be read this long before it is evaluated, if the machine is busy. */
const EVALUATED_WITHIN = 1000

/** The log of one name: what was on disk when, and whether an answer is consistent with that. */
export class MotionLog {
  readonly name: string
  readonly site: string
  readonly states: State[] = []
  mixed = 0
  readonly #rules: Rules
  /** The latest state known to have been live: nothing before it may answer requests that start now. */
  #floor = 0
  /** The end of the last absence that was long enough to count as a deletion. */
  #lastGone = 0
  #isWarm = false

  constructor(name: string, site: string, rules: Rules) {
    this.name = name
    this.site = site
    this.#rules = rules
  }

  get current(): State {
    return this.states.at(-1) as State
  }

  /** Notes that a system call is about to bring a state about. */
  begin(find: Find, motion: string, isSeen: boolean, isFresh: boolean): State {
    const from = clock()
    this.#raiseFloor()
    if (this.#isGone(from)) this.#isWarm = false
    const index = this.states.length
    const times = { from, done: Infinity, doneForServer: Infinity, until: Infinity }
    const state = { index, find, motion, isSeen, isFresh, ...times }
    this.states.push(state)
    return state
  }

  /** Notes that the system call has returned. */
  end(state: State): void {
    const now = clock()
    state.done = now
    state.doneForServer = this.#rules.serverTime()
    const before = this.states[state.index - 1]
    if (!before) return
    before.until = now
    if (before.find.kind !== 'absent' || now - this.#absentSince(before) < GONE_AFTER) return
    this.#isWarm = false
    this.#lastGone = now
  }

  /** Call when a request starts. */
  ask(): Asked {
    const start = clock()
    this.#raiseFloor()
    return { start, floor: this.#floor, isWarm: this.#isWarm && !this.#isGone(start) }
  }

  /** Whether the answer shows that a state, or a later one, was live. */
  shows(answer: Answer, state: State): boolean {
    return answer.status !== 0 && this.#candidates(answer).some(({ index }) => index >= state.index)
  }

  /** Whether a state should have been live for a while. */
  isLate(state: State): boolean {
    return this.#rules.serverTime() - state.doneForServer >= this.#rules.bound
  }

  /** Notes that the state is known to be live now. */
  settle(state: State): void {
    this.#floor = Math.max(this.#floor, state.index)
  }

  /** Returns the rule that an answer breaks, if any. */
  judge(answer: Answer): string | undefined {
    const { about, status, asked } = answer
    if (status === 0) return 'a request got no whole answer'
    if (status === 200 && !about) return 'an answer is not what an app of this soak says'
    if (about) {
      const rule = this.#judgeApp(about)
      if (rule) return rule
      if (asked.start >= this.#lastGone) this.#isWarm = true
    }
    const first = this.#candidates(answer)[0]
    if (first) {
      // After falling through, the same state may serve again if the absence was only brief.
      if (about || asked.isWarm) this.#floor = Math.max(this.#floor, first.index)
      return undefined
    }
    if (about) return this.#judgeMixed(about, asked)
    if (status >= 500 && !asked.isWarm && this.#mayHaveFailed(answer)) return undefined
    if (status === 404) return 'a request fell through, and the vhost was not gone long enough'
    return 'a request failed that an earlier release could have answered'
  }

  /** The last states, as text. */
  tell(states = 40): string {
    const rows = this.states.slice(-states).map(state => {
      const { index, find, from, done, motion, isSeen, isFresh } = state
      const what = find.kind === 'good' ? `${find.entry} ${find.lib}` : find.kind
      const marks = `${isSeen ? '' : ' unseen'}${isFresh ? ' fresh' : ''}`
      return `${String(index).padStart(5)}  ${from.toFixed(1)} … ${done.toFixed(1)}  ${what}${marks}  (${motion})`
    })
    return rows.join('\n')
  }

  #judgeApp(about: About): string | undefined {
    if (about.site !== this.site || about.vhost !== this.name) return 'another site answered'
    if (about.isClosed) return 'an app answered after its close() was called'
    if (Math.abs(about.entryAt - about.libAt) > LOADED_WITHIN) return 'a module was not loaded anew'
    return undefined
  }

  // Files that change one by one may also be read one by one. What matters is that the mixture does not last.
  #judgeMixed(about: About, asked: Asked): string | undefined {
    for (const late of this.states.slice(asked.floor)) {
      if (late.find.kind !== 'good' || late.find.lib !== about.lib || late.from > about.took) continue
      for (let index = late.index; index >= 0; index--) {
        const early = this.states[index] as State
        if (late.from - early.until > EVALUATED_WITHIN) break
        if (early.find.kind !== 'good' || early.find.entry !== about.entry) continue
        this.mixed++
        return undefined
      }
    }
    return 'an app answered that was not what was deployed'
  }

  // What has failed more than once is tried again by time, unless the router sees a change.
  #mayHaveFailed({ asked, end }: Answer): boolean {
    return this.states.some(({ index, isSeen, from, until }) => {
      if (isSeen || from > end || until < asked.start) return false
      const before = this.states.slice(0, index).findLast(state => state.isSeen)
      return before?.find.kind === 'broken'
    })
  }

  /** The states that an answer may come from, in order. */
  #candidates(answer: Answer): State[] {
    const { asked, about, end, status } = answer
    return this.states.slice(asked.floor).filter(state => {
      const { find, from, until, isFresh } = state
      if (find.kind === 'good') {
        if (!about || about.entry !== find.entry || about.lib !== find.lib) return false
        if (from > about.took || about.entryAt > until + EVALUATED_WITHIN) return false
        return !isFresh || about.entryAt >= from
      }
      const isOverlapping = from <= end && until >= asked.start
      if (find.kind === 'broken') return status >= 500 && !asked.isWarm && isOverlapping
      if (status !== 404 || !isOverlapping) return false
      const since = this.#absentSince(state)
      return !asked.isWarm || Math.min(end, until) - since >= GONE_AFTER
    })
  }

  #isGone(now: number): boolean {
    const last = this.states.at(-1)
    return last?.find.kind === 'absent' && now - this.#absentSince(last) >= GONE_AFTER
  }

  /** When an absence began; if the one before may look like the same, when that began. */
  #absentSince(state: State): number {
    let since = state.from
    for (let index = state.index; index >= 0; index--) {
      const before = this.states[index] as State
      if (since - before.until > UNNOTICED) break
      if (before.find.kind === 'absent') since = before.from
    }
    return since
  }

  #raiseFloor(): void {
    const last = this.states.at(-1)
    if (!last?.isSeen || last.find.kind === 'broken') return
    if (this.isLate(last)) this.#floor = Math.max(this.#floor, last.index)
  }
}
