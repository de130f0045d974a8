/** Which of the repairs that the verifier confirmed are believed. */

import type { RepairCandidate } from "./repair.ts";

export interface RepairFilter {
  /** One answer each. */
  accept(candidates: readonly RepairCandidate[]): readonly boolean[] | Promise<readonly boolean[]>;
}

/** Of each sequence, the log-probs in nats of its tokens from `from` on, under the policy without any hint. */
export type MeasureTokens = (
  sequences: readonly { readonly tokens: readonly number[]; readonly from: number }[],
) => readonly ArrayLike<number>[] | Promise<readonly ArrayLike<number>[]>;

/**
 * Believes a repair where the policy that has not seen the hint finds each token from the first changed step on plausible:
 * probability at least `least`. A policy that knows the answer can write its usual errors and then just the answer, which it
 * would hardly write without having seen it.
 */
export function plausibleRepairs(measure: MeasureTokens, least: number): RepairFilter {
  if (!(least > 0 && least <= 1)) {
    throw new RangeError(`plausibleRepairs: expected least to be a probability above 0, received ${least}`);
  }
  const bound = Math.log(least);
  return {
    async accept(candidates) {
      if (candidates.length === 0) return [];
      const measured = await measure(
        candidates.map(({ problem, repaired, changedFrom }) => ({
          tokens: [...problem.prompt, ...repaired],
          from: problem.prompt.length + changedFrom,
        })),
      );
      return measured.map((logprobs) => Array.from(logprobs).every((logprob) => logprob >= bound));
    },
  };
}

/** Believes a repair that keeps at least the share `least` of the failed solution's tokens, from its beginning: small edits. */
export function smallRepairs(least: number): RepairFilter {
  if (!(least >= 0 && least <= 1)) {
    throw new RangeError(`smallRepairs: expected least to be a share in 0 … 1, received ${least}`);
  }
  return {
    accept: (candidates) => candidates.map(({ failed, changedFrom }) => changedFrom >= least * failed.length),
  };
}

/** Believes what every one of the filters believes; each sees only what those before it have left. */
export function everyFilter(...filters: readonly RepairFilter[]): RepairFilter {
  return {
    async accept(candidates) {
      let left = candidates.map((_, index) => index);
      for (const filter of filters) {
        const verdicts = await filter.accept(left.map((index) => candidates[index]));
        left = left.filter((_, i) => verdicts[i]);
      }
      const believed = new Set(left);
      return candidates.map((_, index) => believed.has(index));
    },
  };
}
