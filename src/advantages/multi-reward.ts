/**
 * Several rewards per rollout, `rewards [B, K]` with one weight each. NaN says that a reward does not apply to a rollout; a
 * rollout to which none applies is unverified: its sum is NaN, which every estimator leaves out.
 *
 * Sum, then normalise: `grpo({ outcomes: weightedRewards(…) })`. Normalise, then sum: `grpo({ outcomes: decoupledRewards(…) })`
 * as one group, or `gdpo` per token. The second keeps a reward of small spread from drowning in one of large spread.
 */
import { grpo } from "../trajectory/index.ts";
import { centre, deviation, groupMembers, type GroupId } from "../trajectory/groups.ts";
import { perToken, type TokenLayout } from "./tokens.ts";
import { whiten, type WhitenOptions } from "./whiten.ts";

export interface MultiReward {
  /** `[B, K]` */
  readonly rewards: ArrayLike<number>;
  /** `[K]` */
  readonly weights: ArrayLike<number>;
}

export interface DecoupledArguments extends MultiReward {
  /** `[B]` ids of any kind, in any order; default: one group */
  readonly groups?: ArrayLike<GroupId>;
  /** divide each reward by its standard deviation in the group; default true */
  readonly std?: boolean;
  /** added to the standard deviation; default 1e-4 */
  readonly eps?: number;
  /** the variance is divided by k − ddof; default 1 */
  readonly ddof?: number;
  /** what a reward that applies to one rollout of a group gives it; default `zero` */
  readonly singleton?: "raw" | "zero";
}

/** `[B]` Σ_k weights[k] · rewards[b, k] over the rewards that apply; NaN where none does. */
export function weightedRewards(args: MultiReward): Float64Array {
  return weightedSum("weightedRewards", args, (k) => column(args, k));
}

/** `[B]` Σ_k weights[k] · A_k[b] with A_k the `grpo` advantages of reward k alone; NaN where no reward applies. */
export function decoupledRewards(args: DecoupledArguments): Float64Array {
  const { groups, std = true, eps = 1e-4, ddof = 1, singleton = "zero" } = args;
  const grouping = groups === undefined ? {} : { groups };
  return weightedSum("decoupledRewards", args, (k) =>
    grpo({ outcomes: column(args, k), ...grouping, std, eps, ddof, singleton }),
  );
}

/**
 * `[N]` `decoupledRewards` at every token, whitened over the tokens of the batch. Source: Liu et al. 2026, arXiv:2601.05242
 * (GDPO).
 */
export function gdpo(
  args: DecoupledArguments & TokenLayout & { /** of the last step */ readonly whiten?: WhitenOptions },
): Float64Array {
  const values = perToken({ ...args, values: decoupledRewards(args) });
  return whiten(values, { ...args.whiten, mask: args.mask });
}

/**
 * The share of rollouts in groups whose outcomes do not differ: their standard deviation is at most `tolerance` or, with fewer
 * than two outcomes, undefined. Unverified rollouts count with their group. Such groups teach nothing.
 *
 * @param args.tolerance default 1e-8
 */
export function zeroDeviationFraction(args: {
  readonly outcomes: ArrayLike<number>;
  readonly groups?: ArrayLike<GroupId>;
  readonly tolerance?: number;
}): number {
  const { outcomes, groups, tolerance = 1e-8 } = args;
  const differing = new Set<GroupId>();
  for (const [group, members] of groupMembers("zeroDeviationFraction", outcomes, groups)) {
    if (deviation(centre(members.map((l) => outcomes[l])), 1) > tolerance) differing.add(group);
  }
  if (outcomes.length === 0) return 0;
  let equal = 0;
  for (let l = 0; l < outcomes.length; l++) if (!differing.has(groups?.[l] ?? 0)) equal++;
  return equal / outcomes.length;
}

function column({ rewards, weights }: MultiReward, k: number): Float64Array {
  const rollouts = rewards.length / Math.max(1, weights.length);
  return Float64Array.from({ length: rollouts }, (_, b) => rewards[b * weights.length + k]);
}

function weightedSum(caller: string, args: MultiReward, values: (k: number) => Float64Array): Float64Array {
  const { rewards, weights } = args;
  const kinds = weights.length;
  if (kinds === 0 || rewards.length % kinds !== 0) {
    throw new RangeError(
      `${caller}: expected rewards [B, K] to be a multiple of K = ${kinds} > 0 long, received ${rewards.length}`,
    );
  }
  const sums = new Float64Array(rewards.length / kinds).fill(Number.NaN);
  for (let k = 0; k < kinds; k++) {
    const terms = values(k);
    for (let b = 0; b < sums.length; b++) {
      if (Number.isNaN(rewards[b * kinds + k])) continue;
      sums[b] = (Number.isNaN(sums[b]) ? 0 : sums[b]) + weights[k] * terms[b];
    }
  }
  return sums;
}
