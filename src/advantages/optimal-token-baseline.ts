/** A baseline of its own for every position of a group. */
import { groupMembers, type GroupId } from "../trajectory/groups.ts";
import { returnToGo, type AdvantagesAndReturns } from "./returns.ts";
import { checkLayout, isMasked, type TokenLayout } from "./tokens.ts";

export interface OptimalTokenBaselineArguments extends TokenLayout {
  /** `[N]` */
  readonly rewards: ArrayLike<number>;
  /** `[N]` of the sampled tokens */
  readonly oldLogprobs: ArrayLike<number>;
  /** `[N]` Σ_v p(v)² of the distribution that each token was sampled from */
  readonly sumPiSquared: ArrayLike<number>;
  /** `[N]` importance weights ρ of the corrected surrogate; default 1 */
  readonly importanceWeights?: ArrayLike<number>;
  /** `[B]` ids of any kind, in any order; default: one group */
  readonly groups?: ArrayLike<GroupId>;
  /** added to the sum of weights; default 1e-8 */
  readonly eps?: number;
  /** no baseline for the longest sequence where no other reaches, since its own return is no baseline; default true */
  readonly zeroTail?: boolean;
}

/**
 * A[b, t] = G[b, t] − Σ G W / Σ W over the sequences of the group that have a token at position t. G is the undiscounted return,
 *
 *   W[b, t] = Σ_{s ≤ t} ‖∂ log p / ∂ logits‖² · ρ²        ‖·‖² = 1 − 2p + Σ_v p(v)²
 *
 * what the sampled tokens have added to the squared norm of the gradient so far. The baseline is 0 in a group of one. Equal
 * returns of several sequences give exactly 0; a sequence with a NaN reward takes no part and gets 0. Positions count from the
 * start of a sequence, masked tokens included: leave tools' replies out of the arrays to align by what the policy wrote.
 *
 * Source: Li et al. 2026, arXiv:2602.07078 (OTB).
 */
export function optimalTokenBaseline(args: OptimalTokenBaselineArguments): AdvantagesAndReturns {
  const { sequenceOffsets, mask, rewards, oldLogprobs, sumPiSquared, importanceWeights, groups } = args;
  const { sequences, tokens } = checkLayout(
    "optimalTokenBaseline",
    args,
    { rewards, oldLogprobs, sumPiSquared, importanceWeights },
    { groups },
  );
  const returns = returnToGo({ ...args, gamma: 1, masked: "discount" });
  const weights = new Float64Array(tokens);
  const lengths = new Int32Array(sequences);
  const advantages = new Float64Array(tokens);
  // NaN marks the sequences that take no part; a NaN reward is in the return of the first token.
  const verified = new Float64Array(sequences);
  for (let b = 0; b < sequences; b++) {
    let energy = 0;
    for (let n = sequenceOffsets[b]; n < sequenceOffsets[b + 1]; n++) {
      if (isMasked(mask, n)) continue;
      energy += (1 - 2 * Math.exp(oldLogprobs[n]) + sumPiSquared[n]) * (importanceWeights?.[n] ?? 1) ** 2;
      weights[n] = energy;
      lengths[b]++;
    }
    if (sequenceOffsets[b] < sequenceOffsets[b + 1]) verified[b] = returns[sequenceOffsets[b]];
  }
  for (const members of groupMembers("optimalTokenBaseline", verified, groups).values()) {
    const [, secondLongest = 0] = members.map((b) => lengths[b]).sort((x, y) => y - x);
    const end = Math.max(...members.map((b) => sequenceOffsets[b + 1] - sequenceOffsets[b]));
    for (let t = 0; t < end; t++) {
      const holders = members.filter((b) => {
        const n = sequenceOffsets[b] + t;
        return n < sequenceOffsets[b + 1] && !isMasked(mask, n);
      });
      const at = holders.map((b) => sequenceOffsets[b] + t);
      const baseline = members.length === 1 ? 0 : positionBaseline(at, returns, weights, args.eps ?? 1e-8);
      holders.forEach((b, i) => {
        const tail = (args.zeroTail ?? true) && lengths[b] > secondLongest && t >= secondLongest;
        advantages[at[i]] = returns[at[i]] - (tail ? 0 : baseline);
      });
    }
  }
  return { advantages, returns };
}

/** Σ G W / (Σ W + eps) over tokens `at` of several sequences; where all returns agree that return itself, without the eps. */
function positionBaseline(at: readonly number[], returns: Float64Array, weights: Float64Array, eps: number): number {
  if (at.length > 1 && at.every((n) => returns[n] === returns[at[0]])) return returns[at[0]];
  const total = at.reduce((sum, n) => sum + weights[n], 0);
  return at.reduce((sum, n) => sum + returns[n] * weights[n], 0) / (total + eps);
}
