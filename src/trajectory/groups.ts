/**
 * Statistics of groups, shared by all estimators. Explicit ids of any kind, in any order and size; NaN values take no part. The
 * first value of a group is subtracted before anything is averaged, so equal values are exactly 0 from their mean, whatever
 * they are and however many.
 */

export type GroupId = number | string;

/** Indices of the members of each group, groups in order of appearance. Members with a NaN value are left out. */
export function groupMembers(
  caller: string,
  values: ArrayLike<number>,
  groups: ArrayLike<GroupId> | undefined,
): Map<GroupId, number[]> {
  if (groups !== undefined && groups.length !== values.length) {
    throw new RangeError(
      `${caller}: expected groups [L] of length ${values.length}, received a length of ${groups.length}`,
    );
  }
  const members = new Map<GroupId, number[]>();
  for (let l = 0; l < values.length; l++) {
    if (Number.isNaN(values[l])) continue;
    const group = groups?.[l] ?? 0;
    const indices = members.get(group);
    if (indices === undefined) members.set(group, [l]);
    else indices.push(l);
  }
  return members;
}

/** Estimates group by group, back in the order of `values`; what took no part gets 0. */
export function perGroup(
  caller: string,
  values: ArrayLike<number>,
  groups: ArrayLike<GroupId> | undefined,
  estimate: (values: readonly number[], indices: readonly number[]) => readonly number[],
): Float64Array {
  const results = new Float64Array(values.length);
  for (const indices of groupMembers(caller, values, groups).values()) {
    const estimates = estimate(
      indices.map((l) => values[l]),
      indices,
    );
    indices.forEach((l, i) => (results[l] = estimates[i]));
  }
  return results;
}

/** value − mean, exactly 0 where all are equal. The second pass takes out what rounding left of the mean. */
export function centre(values: readonly number[]): number[] {
  return subtractMean(subtractMean(values.map((value) => value - values[0])));
}

/** √(Σ c² / (k − ddof)) of values with mean 0; 0 where k ≤ ddof leaves it undefined. */
export function deviation(centred: readonly number[], ddof: number): number {
  if (centred.length <= ddof) return 0;
  return Math.sqrt(centred.reduce((sum, c) => sum + c * c, 0) / (centred.length - ddof));
}

/** 0 / divisor is 0 for every divisor, 0 included. */
export function quotient(numerator: number, divisor: number): number {
  return numerator === 0 ? 0 : numerator / divisor;
}

function subtractMean(values: readonly number[]): number[] {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}
