/**
 * Baselines: how much better an outcome is than its group. Float64, centred sums. The first outcome of a group is subtracted
 * before anything is averaged, so equal outcomes give exactly 0, whatever their value. NaN (unverified) outcomes take no part
 * and get 0.
 */

export interface AdvantageArguments {
  /** `[L]` */
  readonly outcomes: ArrayLike<number>;
  /** `[L]` group ids of any kind, in any order; default: one group */
  readonly groups?: ArrayLike<number | string>;
  /**
   * what a group of one gets, which has no one to be compared with: `raw` its outcome (mean 0, standard deviation 1), `zero`
   * nothing; default `raw`
   */
  readonly singleton?: "raw" | "zero";
}

export interface GrpoArguments extends AdvantageArguments {
  /** divide by the standard deviation of the group; default true */
  readonly std?: boolean;
  /** added to the standard deviation; default 1e-4 */
  readonly eps?: number;
  /** the variance is divided by k − ddof; default 1 */
  readonly ddof?: number;
}

/**
 * A = (r − mean_g) / (std_g + eps), or r − mean_g without `std`. Shao et al. 2024, arXiv:2402.03300, section 4.1; without
 * std: Liu et al. 2025, arXiv:2503.20783.
 */
export function grpo(args: GrpoArguments): Float64Array {
  const { std = true, eps = 1e-4, ddof = 1, singleton = "raw" } = args;
  return perGroup("grpo", args, (outcomes) => {
    const k = outcomes.length;
    if (k === 1) return singletonAdvantage(outcomes[0], singleton, std ? 1 + eps : 1);
    const centred = centre(outcomes);
    if (!std) return centred;
    if (k <= ddof) throw new RangeError(`grpo: expected groups of more than ddof = ${ddof} outcomes, received ${k}`);
    const deviation = Math.sqrt(centred.reduce((sum, c) => sum + c * c, 0) / (k - ddof));
    return centred.map((c) => (c === 0 ? 0 : c / (deviation + eps)));
  });
}

/**
 * A = r − (mean of the others) = k / (k − 1) · (r − mean_g). Kool et al. 2019; Ahmadian et al. 2024, arXiv:2402.14740.
 */
export function rloo(args: AdvantageArguments): Float64Array {
  const { singleton = "raw" } = args;
  return perGroup("rloo", args, (outcomes) => {
    const k = outcomes.length;
    if (k === 1) return singletonAdvantage(outcomes[0], singleton, 1);
    return centre(outcomes).map((c) => (k / (k - 1)) * c);
  });
}

function singletonAdvantage(outcome: number, singleton: "raw" | "zero", divisor: number): number[] {
  return [singleton === "raw" ? outcome / divisor : 0];
}

/** r − mean, exactly 0 where all are equal. The second pass takes out what rounding left of the mean. */
function centre(outcomes: readonly number[]): number[] {
  const shifted = subtractMean(outcomes.map((outcome) => outcome - outcomes[0]));
  return subtractMean(shifted);
}

function subtractMean(values: readonly number[]): number[] {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

function perGroup(
  op: string,
  { outcomes, groups }: AdvantageArguments,
  estimate: (outcomes: readonly number[]) => readonly number[],
): Float64Array {
  if (groups !== undefined && groups.length !== outcomes.length) {
    throw new RangeError(
      `${op}: expected groups [L] of length ${outcomes.length}, received a length of ${groups.length}`,
    );
  }
  const members = new Map<number | string, number[]>();
  for (let l = 0; l < outcomes.length; l++) {
    if (Number.isNaN(outcomes[l])) continue;
    const group = groups?.[l] ?? 0;
    const indices = members.get(group);
    if (indices === undefined) members.set(group, [l]);
    else indices.push(l);
  }
  const advantages = new Float64Array(outcomes.length);
  for (const indices of members.values()) {
    const estimates = estimate(indices.map((l) => outcomes[l]));
    indices.forEach((l, i) => (advantages[l] = estimates[i]));
  }
  return advantages;
}
