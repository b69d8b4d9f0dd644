import { shuffled } from './random.ts'

/** Gives one sample, or nothing where there is no time left for one more. */
export type Contender = (round: number) => number | undefined | Promise<number | undefined>

export interface Rounds {
  readonly rounds: number
  readonly warmUp: number
}

/**
 * Has each contender give one sample a round, in an order that is drawn anew for each, so that noise and what one leaves
 * behind in the caches hit all alike.
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
  for (let round = 0; round < warmUp + rounds; round++) {
    for (const name of shuffled(names)) {
      const sample = await contenders[name](round)
      if (round >= warmUp) samples[name].push(sample)
    }
  }
  return samples
}

/** What two contenders came to in each round, put together; rounds in which one of them has no sample are left out. */
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
