/**
 * Groups that are trees by their sampling: some rollouts from the prompt, more from where these were least sure of themselves,
 * and credit from the tree alone. After TreeRL (Hou et al. 2025, arXiv:2506.11902), with two differences: branches begin at step
 * boundaries, and the boundary is chosen by the surprise of the whole step behind it, not by the entropy at single tokens.
 */

import { splitSteps } from "../trajectory/segment.ts";
import { countTokens, request, sampleAll } from "../trajectory/rollout.ts";
import { perStep } from "../trajectory/supervise.ts";
import { graft, isRollout, path, type Sampler, type Segmenter, type Tree } from "../trajectory/index.ts";
import type { ContinuationConfig } from "./monte-carlo.ts";

export interface BranchConfig extends ContinuationConfig {
  readonly segment: Segmenter;
  /** rollouts that branch off, per tree */
  readonly branches: number;
}

/**
 * Grows every tree by rollouts that begin before its most surprising steps, one each, the most surprising first.
 *
 * @param surprises per tree, per node: −Σ log-prob of the step's tokens when it was sampled, in nats
 * @returns tokens generated
 */
export async function branch(
  trees: readonly Tree[],
  surprises: readonly Float64Array[],
  sampler: Sampler,
  { segment, branches, maxTokens, stop }: BranchConfig,
): Promise<number> {
  const asked = trees.flatMap((tree, p) =>
    mostSurprising(surprises[p], branches).map((node) => {
      const { parent } = tree.steps[node];
      const written = path(tree, parent).flatMap((step) => tree.steps[step].tokens);
      return {
        tree,
        parent,
        request: request([...tree.problem.prompt, ...written], maxTokens - written.length, stop),
      };
    }),
  );
  const completions = await sampleAll(
    sampler,
    asked.map((one) => one.request),
    "branch",
  );
  asked.forEach(({ tree, parent }, a) => {
    graft(tree, parent, splitSteps(completions[a].tokens, segment, completions[a]), { source: "rollout" });
  });
  return countTokens(completions);
}

/** Nodes with the largest surprise; where there are fewer than asked for, they come again. Nothing of an empty tree. */
function mostSurprising(surprise: Float64Array, count: number): number[] {
  const nodes = Array.from(surprise.keys()).slice(1);
  nodes.sort((a, b) => surprise[b] - surprise[a] || a - b);
  return nodes.length === 0 ? [] : Array.from({ length: count }, (_, i) => nodes[i % nodes.length]);
}

/**
 * With r̃ a leaf's outcome less the mean of the other leaves, and V(n) the mean r̃ of the leaves below n: a step gets
 * (V(n) − V(root) + V(n) − V(parent)) / √(leaves below n) from each of these leaves; V(root) is 0.
 */
export function treeCredits(tree: Tree): Float64Array[] {
  const members = tree.leaves.flatMap((leaf, index) =>
    isRollout(leaf) && leaf.outcome !== undefined && !Number.isNaN(leaf.outcome) ? [index] : [],
  );
  const outcomes = members.map((index) => tree.leaves[index].outcome as number);
  const sum = new Float64Array(tree.steps.length);
  const count = new Int32Array(tree.steps.length);
  // The first is subtracted, so that equal outcomes give exactly 0.
  const total = outcomes.reduce((all, outcome) => all + (outcome - outcomes[0]), 0);
  members.forEach((index, m) => {
    const own = outcomes[m] - outcomes[0];
    const better = members.length < 2 ? 0 : own - (total - own) / (members.length - 1);
    for (const node of path(tree, tree.leaves[index].step)) {
      sum[node] += better;
      count[node]++;
    }
  });
  const value = (node: number): number => (node === 0 || count[node] === 0 ? 0 : sum[node] / count[node]);
  return tree.leaves.map((leaf, index) => {
    const nodes = path(tree, leaf.step);
    const counts = members.includes(index);
    return perStep(tree, index, (_, i, step) => {
      const node = nodes[i];
      if (counts) step.fill((2 * value(node) - value(tree.steps[node].parent)) / Math.sqrt(count[node]));
    });
  });
}
