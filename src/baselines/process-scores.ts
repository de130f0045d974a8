/** Credit from scores of single steps that come from outside: a process reward model, labels, a checker. */

import { stepAdvantages } from "../advantages/steps.ts";
import { completionOf, isRollout, stepsOf, type Tree } from "../trajectory/index.ts";
import { perStep } from "../trajectory/supervise.ts";

/**
 * Every step of a rollout gets the normalised scores of itself and of the steps behind it (Shao et al. 2024, arXiv:2402.03300,
 * section 4.1.3). Outcomes do not count.
 *
 * @param score of a rollout's steps, one number each; NaN: unknown
 */
export function processCredits(
  tree: Tree,
  score: (completion: readonly number[]) => readonly number[],
): Float64Array[] {
  const scores = tree.leaves.map((leaf, index) => {
    if (!isRollout(leaf)) return [];
    const given = score(completionOf(tree, index));
    const steps = stepsOf(tree, index).length;
    if (given.length !== steps) {
      throw new RangeError(
        `processCredits: expected ${steps} scores for leaf ${index} of ${tree.problem.id}, received ${given.length}`,
      );
    }
    return given;
  });
  const stepOffsets = new Int32Array(scores.length + 1);
  scores.forEach(({ length }, l) => (stepOffsets[l + 1] = stepOffsets[l] + length));
  const advantages = stepAdvantages({ stepRewards: scores.flat(), stepOffsets });
  return tree.leaves.map((leaf, index) =>
    perStep(tree, index, (_, i, step) => {
      if (isRollout(leaf)) step.fill(advantages[stepOffsets[index] + i]);
    }),
  );
}
