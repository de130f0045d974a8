/** Problems to groups of solutions. */

import type { Completion, Problem, SampleRequest, Sampler, Segmenter } from "./problem.ts";
import { splitSteps } from "./segment.ts";
import { createTree, graft, path, type Tree } from "./tree.ts";

export interface RolloutConfig {
  /** G: solutions per problem */
  readonly groupSize: number;
  /** of a solution */
  readonly maxTokens: number;
  /** token ids that end a solution */
  readonly stop?: readonly number[];
  readonly segment: Segmenter;
}

export interface Rollouts {
  /** one per problem, in their order, with `groupSize` leaves in the order of sampling */
  readonly trees: Tree[];
  /** tokens generated */
  readonly tokens: number;
  /** per tree, per node: −Σ log-prob of the step's tokens under the policy that sampled them, in nats; 0 for the root */
  readonly surprises: Float64Array[];
}

/** Samples `groupSize` solutions of every problem in one call of the sampler. */
export async function rollout(
  problems: readonly Problem[],
  sampler: Sampler,
  config: RolloutConfig,
): Promise<Rollouts> {
  const { groupSize, maxTokens, stop, segment } = config;
  if (!Number.isInteger(groupSize) || groupSize < 1) {
    throw new RangeError(`rollout: expected a groupSize of at least 1, received ${groupSize}`);
  }
  const requests = problems.flatMap((problem) =>
    Array.from({ length: groupSize }, (): SampleRequest => request(problem.prompt, maxTokens, stop)),
  );
  const completions = await sampleAll(sampler, requests, "rollout");
  const trees = problems.map((problem, p) => {
    const tree = createTree(problem);
    for (let g = 0; g < groupSize; g++) {
      const completion = completions[p * groupSize + g];
      graft(tree, 0, splitSteps(completion.tokens, segment, completion), { source: "rollout" });
    }
    return tree;
  });
  const surprises = trees.map((tree, p) =>
    surpriseOf(
      tree,
      completions.slice(p * groupSize, (p + 1) * groupSize).map(({ logprobs }) => logprobs),
    ),
  );
  return { trees, tokens: countTokens(completions), surprises };
}

/** From the log-probs of its leaves. A step that several share has the same from each. */
function surpriseOf(tree: Tree, logprobs: readonly (readonly number[])[]): Float64Array {
  const surprise = new Float64Array(tree.steps.length);
  tree.leaves.forEach(({ step }, leaf) => {
    let n = 0;
    for (const node of path(tree, step)) {
      surprise[node] = 0;
      for (let t = 0; t < tree.steps[node].tokens.length; t++) surprise[node] -= logprobs[leaf][n++];
    }
  });
  return surprise;
}

export function request(
  prefix: readonly number[],
  maxTokens: number,
  stop: readonly number[] | undefined,
): SampleRequest {
  return stop === undefined ? { prefix, maxTokens } : { prefix, maxTokens, stop };
}

/** One call of the sampler, none where there is nothing to ask; checks that every request was answered. */
export async function sampleAll(
  sampler: Sampler,
  requests: readonly SampleRequest[],
  stage: string,
): Promise<readonly Completion[]> {
  if (requests.length === 0) return [];
  const completions = await sampler.sample(requests);
  if (completions.length !== requests.length) {
    throw new RangeError(`${stage}: expected ${requests.length} completions, received ${completions.length}`);
  }
  return completions;
}

export function countTokens(completions: readonly Completion[]): number {
  return completions.reduce((sum, completion) => sum + generatedFor(completion), 0);
}

export function generatedFor({ tokens, generated }: Completion): number {
  return generated ?? tokens.length;
}
