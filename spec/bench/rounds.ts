import { Calm } from './calm.ts'
import { shuffled } from './random.ts'

/** Returns one sample, or undefined if no time is left for another. */
export type Contender = (round: number) => number | undefined | Promise<number | undefined>

export interface Rounds {
  readonly rounds: number
  readonly warmUp: number
}

/** How long a round may wait for a calm moment, on average, in milliseconds. */
const PATIENCE = 30

/**
 * Takes one sample of each contender per round, in a new random order each time, so that noise and what one leaves
 * behind in the caches hit all alike. Rounds wait for calm moments.
 */
export async function interleaved<Name extends string>(
  contenders: Readonly<Record<Name, Contender>>,
  { rounds, warmUp }: Rounds,
): Promise<Record<Name, (number | undefined)[]>> {
  const names = Object.keys(contenders) as Name[]
  const samples = Object.fromEntries(names.map(name => [name, []])) as unknown as Record<
    Name,
    (number | undefined)[]
  >
  const calm = new Calm(rounds * PATIENCE)
  for (let round = 0; round < warmUp + rounds; round++) {
    if (round >= warmUp) await calm.wait()
    for (const name of shuffled(names)) {
      const sample = await contenders[name](round)
      if (round >= warmUp) samples[name].push(sample)
    }
  }
  return samples
}

/** Combines the samples of two contenders round by round, leaving out rounds in which either has none. */
export function roundByRound(
  ones: readonly (number | undefined)[],
  others: readonly (number | undefined)[],
  combine: (one: number, other: number) => number,
): number[] {
  return ones.flatMap((one, round) => {
    const other = others[round]
    return one === undefined || other === undefined ? [] : [combine(one, other)]
  })
}

export function present(samples: readonly (number | undefined)[]): number[] {
  return samples.filter(sample => sample !== undefined)
}
