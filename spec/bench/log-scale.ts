/** Maps values between two bounds to positions on a logarithmic axis. */
export function logScale(
  [from, to]: readonly [number, number],
  [start, end]: readonly [number, number],
): (value: number) => number {
  const [low, high] = [Math.log(from), Math.log(to)]
  return value => start + ((end - start) * (Math.log(value) - low)) / (high - low || 1)
}

/** The powers of ten within these bounds. */
export function ticksWithin([from, to]: readonly [number, number]): number[] {
  const ticks: number[] = []
  for (let power = Math.round(Math.log10(from)); 10 ** power <= to; power++) {
    ticks.push(Number((10 ** power).toPrecision(1)))
  }
  return ticks
}
