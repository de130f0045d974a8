/** First errors, from outcomes alone: where a failed solution leaves the verified one that agrees with it longest. */

import { sameTokens, stepsOf, type LeafSource, type Tree } from "./tree.ts";
import { failed, succeeded, type SuccessOptions } from "./verify.ts";

export interface Identification {
  /**
   * index on the leaf's path of the first step that differs from the reference; −1: none. A failed solution that only
   * stopped too early (a reference begins with all of its steps) has a reference and no first error: nothing that it wrote
   * differs from a verified solution.
   */
  readonly firstError: number;
  /** leaf index; −1: the leaf did not fail, or the tree holds no verified solution but its own tokens */
  readonly reference: number;
  readonly source: LeafSource | undefined;
}

export interface Agreement {
  /** leading steps that are equal */
  readonly steps: number;
  /** leading tokens that are equal inside the first differing step; 0 where one of the two has ended */
  readonly tokens: number;
}

const none: Identification = { firstError: -1, reference: -1, source: undefined };

/**
 * One entry per leaf. The reference of a failed leaf is the successful leaf of the tree, rollout or correction, that agrees
 * longest: by steps, then by tokens inside the first differing step; among equals a correction of this very leaf, then the
 * lowest index.
 */
export function identify(tree: Tree, options: SuccessOptions = {}): Identification[] {
  const solutions = tree.leaves.map((_, index) => stepsOf(tree, index));
  const candidates = tree.leaves.flatMap((leaf, index) => (succeeded(leaf, options.threshold) ? [index] : []));
  return tree.leaves.map((leaf, index) => {
    if (!failed(leaf, options.threshold)) return none;
    let reference = -1;
    let best: Agreement = { steps: -1, tokens: -1 };
    for (const candidate of candidates) {
      // Equal tokens with another outcome: a verifier at odds with itself, and no difference to learn from.
      if (tree.leaves[candidate].step === leaf.step) continue;
      const found = agreement(solutions[index], solutions[candidate]);
      const order = compareAgreement(found, best);
      const own = tree.leaves[candidate].corrects === index;
      if (order > 0 || (order === 0 && own && tree.leaves[reference].corrects !== index)) {
        reference = candidate;
        best = found;
      }
    }
    if (reference < 0) return none;
    const firstError = best.steps < solutions[index].length ? best.steps : -1;
    return { firstError, reference, source: tree.leaves[reference].source };
  });
}

/** How far two solutions, each a list of steps, agree from their beginning. */
export function agreement(a: readonly (readonly number[])[], b: readonly (readonly number[])[]): Agreement {
  const shorter = Math.min(a.length, b.length);
  let steps = 0;
  while (steps < shorter && sameTokens(a[steps], b[steps])) steps++;
  if (steps === shorter) return { steps, tokens: 0 };
  const [left, right] = [a[steps], b[steps]];
  let tokens = 0;
  while (tokens < left.length && tokens < right.length && left[tokens] === right[tokens]) tokens++;
  return { steps, tokens };
}

/** > 0 where `a` agrees longer than `b`. */
export function compareAgreement(a: Agreement, b: Agreement): number {
  return a.steps - b.steps || a.tokens - b.tokens;
}

/**
 * Which tokens of a step differ from those of the reference's step. By position: those that are not the same at the same place,
 * and those beyond the end of the reference step. By subsequence: those outside the longest common subsequence of the two.
 * Where all are found but something is missing, the token that came instead of it differs, or the last one: the step ended
 * too early. A reference without this step is `[]`.
 */
export function differingTokens(
  step: readonly number[],
  reference: readonly number[],
  by: "position" | "subsequence" = "position",
): boolean[] {
  const matched = by === "position" ? samePlaces(step, reference) : commonSubsequence(step, reference);
  const differs = matched.map((at) => at < 0);
  if (step.length > 0 && step.length < reference.length && !differs.includes(true)) {
    const shifted = matched.findIndex((at, t) => at !== t);
    differs[shifted < 0 ? step.length - 1 : shifted] = true;
  }
  return differs;
}

/** Per token of `a` the index of the token of `b` that it matches; −1: none. */
const samePlaces = (a: readonly number[], b: readonly number[]): number[] =>
  a.map((token, t) => (t < b.length && token === b[t] ? t : -1));

/** The same by a longest common subsequence, of several the one that matches earliest in `a`, then in `b`. */
function commonSubsequence(a: readonly number[], b: readonly number[]): number[] {
  const width = b.length + 1;
  // Length of the longest one of a[i …] and b[j …].
  const length = new Int32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const both = a[i] === b[j] ? length[(i + 1) * width + j + 1] + 1 : 0;
      length[i * width + j] = Math.max(both, length[(i + 1) * width + j], length[i * width + j + 1]);
    }
  }
  let j = 0;
  return a.map((token, i) => {
    // The earliest match that leaves as much to the rest as there is.
    for (let k = j; k < b.length; k++) {
      if (token === b[k] && length[(i + 1) * width + k + 1] + 1 === length[i * width + j]) {
        j = k + 1;
        return k;
      }
    }
    return -1;
  });
}
