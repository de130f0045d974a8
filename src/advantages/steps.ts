/**
 * Process supervision: one reward or value per step instead of one per solution. L solutions, S steps one solution after another;
 * `stepOffsets [L + 1]`: solution l owns the steps stepOffsets[l] … stepOffsets[l + 1). A step is a half-open range of tokens.
 */
import { grpo, type Range } from "../trajectory/index.ts";
import type { GroupId } from "../trajectory/groups.ts";
import { returnToGo, temporalDifferences } from "./returns.ts";
import { checkLayout, isMasked, type TokenLayout } from "./tokens.ts";

export interface StepAdvantageArguments {
  /** `[S]` */
  readonly stepRewards: ArrayLike<number>;
  /** `[L + 1]` */
  readonly stepOffsets: Int32Array;
  /** `[L]` ids of any kind, in any order; default: one group */
  readonly groups?: ArrayLike<GroupId>;
  /** discount per step; default 1 */
  readonly gamma?: number;
  /** added to the standard deviation; default 1e-4 */
  readonly eps?: number;
  /** the variance is divided by k − ddof; default 1 */
  readonly ddof?: number;
}

/**
 * `[S]` A[s] = r̃[s] + γ · A[s + 1] with r̃ = (r − mean) / (std + eps) over all steps of all solutions of the group. Equal rewards
 * give exactly 0, and so does a group of one step; NaN rewards take no part and add nothing. Source: Shao et al. 2024,
 * arXiv:2402.03300, section 4.1.3.
 */
export function stepAdvantages(args: StepAdvantageArguments): Float64Array {
  const { stepRewards, stepOffsets, groups, gamma = 1, eps = 1e-4, ddof = 1 } = args;
  const layout = { sequenceOffsets: stepOffsets };
  const { sequences, tokens: steps } = checkLayout("stepAdvantages", layout, { stepRewards }, { groups });
  const groupOfStep = new Array<GroupId>(steps);
  for (let l = 0; l < sequences; l++) groupOfStep.fill(groups?.[l] ?? 0, stepOffsets[l], stepOffsets[l + 1]);
  const rewards = grpo({ outcomes: stepRewards, groups: groupOfStep, eps, ddof, singleton: "zero" });
  return returnToGo({ ...layout, rewards, gamma });
}

/**
 * `[S]` A[s] = r[s] + V[s + 1] − V[s], with V = 0 behind the last step and V[s] = r[s] + V[s + 1] where it was not measured (NaN).
 * Source: Kazemnejad et al. 2024, arXiv:2410.01679 (VinePPO).
 *
 * @param args.stepRewards `[S]`
 * @param args.values `[S]` the mean outcome of continuations sampled from before each step
 * @param args.stepOffsets `[L + 1]`
 */
export function vineAdvantages(args: {
  readonly stepRewards: ArrayLike<number>;
  readonly values: ArrayLike<number>;
  readonly stepOffsets: Int32Array;
}): Float64Array {
  const { stepRewards: rewards, stepOffsets: sequenceOffsets } = args;
  const { sequences } = checkLayout(
    "vineAdvantages",
    { sequenceOffsets },
    { stepRewards: rewards, values: args.values },
  );
  const values = Float64Array.from(args.values);
  for (let l = 0; l < sequences; l++) {
    let next = 0;
    for (let s = sequenceOffsets[l + 1] - 1; s >= sequenceOffsets[l]; s--) {
      if (Number.isNaN(values[s])) values[s] = rewards[s] + next;
      next = values[s];
    }
  }
  return temporalDifferences({ rewards, values, sequenceOffsets });
}

/**
 * `[N]` the step of every token, counted over all solutions, or −1: for a masked token and for one outside every step. With it
 * the op `scatterAdvantages` brings step advantages to tokens. `mapBoundaries` makes token ranges of text ranges.
 *
 * @param args.steps per solution its steps in order, as ranges that count tokens from its start
 * @throws RangeError for steps that overlap, are empty or reach beyond their solution
 */
export function stepOfTokens(args: TokenLayout & { readonly steps: readonly (readonly Range[])[] }): Int32Array {
  const { sequenceOffsets, mask, steps } = args;
  const { sequences, tokens } = checkLayout("stepOfTokens", args, {}, { steps });
  const stepOf = new Int32Array(tokens).fill(-1);
  let step = 0;
  for (let l = 0; l < sequences; l++) {
    let covered = 0;
    const length = sequenceOffsets[l + 1] - sequenceOffsets[l];
    for (const { start, end } of steps[l]) {
      if (!(start >= covered && end > start && end <= length)) {
        throw new RangeError(
          `stepOfTokens: expected steps inside [${covered}, ${length}), none of them empty, received [${start}, ${end}) in solution ${l}`,
        );
      }
      for (let n = sequenceOffsets[l] + start; n < sequenceOffsets[l] + end; n++) {
        if (!isMasked(mask, n)) stepOf[n] = step;
      }
      covered = end;
      step++;
    }
  }
  return stepOf;
}
