/**
 * Baselines: how much better an outcome is than its group. Float64, centred sums; equal outcomes give exactly 0, whatever their
 * value. NaN (unverified) outcomes take no part and get 0. `advantages/` holds the estimators that need more than outcomes.
 */

import { centre, deviation, groupMembers, perGroup, quotient, type GroupId } from "./groups.ts";

export interface AdvantageArguments {
  /** `[L]` */
  readonly outcomes: ArrayLike<number>;
  /** `[L]` group ids of any kind, in any order; default: one group */
  readonly groups?: ArrayLike<GroupId>;
  /**
   * what a group of one gets, which has no one to be compared with: `raw` its outcome (mean 0, standard deviation 1), `zero`
   * nothing; default `raw`
   */
  readonly singleton?: "raw" | "zero";
}

export interface GrpoArguments extends AdvantageArguments {
  /** divide by the standard deviation of the group (true), of all outcomes ("batch"), or by nothing (false); default true */
  readonly std?: boolean | "batch";
  /** added to the standard deviation; default 1e-4 */
  readonly eps?: number;
  /** the variance is divided by k − ddof; default 1 */
  readonly ddof?: number;
}

export interface RlooArguments extends AdvantageArguments {
  /** divide by the standard deviation of all advantages, those of groups of one left out; default false */
  readonly normalise?: boolean;
  /** added to that standard deviation; default 1e-4 */
  readonly eps?: number;
  /** its variance is divided by k − ddof; default 1 */
  readonly ddof?: number;
}

/**
 * A = (r − mean_g) / (std + eps), or r − mean_g without `std`. Shao et al. 2024, arXiv:2402.03300, section 4.1; without std: Liu
 * et al. 2025, arXiv:2503.20783; with the standard deviation of the batch: Liu et al. 2025, arXiv:2508.08221.
 */
export function grpo(args: GrpoArguments): Float64Array {
  const { outcomes, groups, std = true, eps = 1e-4, ddof = 1, singleton = "raw" } = args;
  const spread = (values: readonly number[], centred: readonly number[]): number => {
    if (values.length > ddof) return deviation(centred, ddof);
    throw new RangeError(`grpo: expected groups of more than ddof = ${ddof} outcomes, received ${values.length}`);
  };
  const verified = std === "batch" ? Array.from(outcomes).filter((outcome) => !Number.isNaN(outcome)) : [];
  const batchDivisor = verified.length > 1 ? spread(verified, centre(verified)) + eps : 1 + eps;
  return perGroup("grpo", outcomes, groups, (values) => {
    if (values.length === 1) return [singleton === "zero" ? 0 : values[0] / (std === false ? 1 : 1 + eps)];
    const centred = centre(values);
    if (std === false) return centred;
    const divisor = std === "batch" ? batchDivisor : spread(values, centred) + eps;
    return centred.map((c) => quotient(c, divisor));
  });
}

/**
 * A = r − (mean of the others) = k / (k − 1) · (r − mean_g). Kool et al. 2019; Ahmadian et al. 2024, arXiv:2402.14740. The
 * advantages of every group sum to 0, so `normalise` needs no mean.
 */
export function rloo(args: RlooArguments): Float64Array {
  const { outcomes, groups, singleton = "raw", normalise = false, eps = 1e-4, ddof = 1 } = args;
  const advantages = perGroup("rloo", outcomes, groups, (values) => {
    const k = values.length;
    if (k === 1) return [singleton === "zero" ? 0 : values[0]];
    return centre(values).map((c) => (k / (k - 1)) * c);
  });
  if (!normalise) return advantages;
  const compared = [...groupMembers("rloo", outcomes, groups).values()].filter((members) => members.length > 1).flat();
  const divisor =
    deviation(
      compared.map((l) => advantages[l]),
      ddof,
    ) + eps;
  for (const l of compared) advantages[l] = quotient(advantages[l], divisor);
  return advantages;
}
