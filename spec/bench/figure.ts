/** A figure of this run. `value` is the median of the samples, unless the measure's name says otherwise. */
interface Measured {
  readonly value: number
  /** The quartiles. */
  readonly low: number
  readonly high: number
  readonly samples: number
}

/** A figure that could not be measured. */
interface Unmeasured {
  readonly reason: string
}

/** A figure that was measured once, elsewhere. */
export interface Recorded {
  readonly recorded: number
  readonly source: string
}

export type Figure = Measured | Unmeasured | Recorded

/** The median of samples, with quartiles. */
export function medianOf(samples: readonly number[]): Figure {
  return figureOf(quantile(samples, 0.5), samples)
}

/** The nearest-rank quantile of samples, such as 0.99. A run yields only one, so it has no spread. */
export function quantileOf(samples: readonly number[], share: number): Figure {
  return samples.length === 0 ? figureOf(Number.NaN, []) : figureOf(quantile(samples, share))
}

/** A value derived from samples, but not their median; the spread is that of the samples. */
export function figureOf(value: number, samples: readonly number[] = [value]): Figure {
  if (samples.length === 0) return { reason: 'no sample' }
  if (![value, ...samples].every(Number.isFinite)) return { reason: 'a sample is no number' }
  const [low, high] = [quantile(samples, 0.25), quantile(samples, 0.75)]
  return { value: rounded(value), low: rounded(low), high: rounded(high), samples: samples.length }
}

/** The number of a figure, wherever it was measured; undefined if it was not. */
export function numberOf(figure: Figure | undefined): number | undefined {
  if (figure === undefined || 'reason' in figure) return undefined
  return 'recorded' in figure ? figure.recorded : figure.value
}

/** The nearest-rank quantile; the median of an even number of samples is the mean of the middle two. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const { length } = sorted
  if (share === 0.5 && length % 2 === 0) {
    return ((sorted[length / 2 - 1] as number) + (sorted[length / 2] as number)) / 2
  }
  return sorted[Math.max(0, Math.ceil(share * length) - 1)] ?? Number.NaN
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5)
}

// More digits than these are noise.
function rounded(value: number): number {
  return Number(value.toPrecision(4))
}
