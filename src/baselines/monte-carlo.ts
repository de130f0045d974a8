/**
 * Values of step boundaries from fresh continuations, and credit from their differences: VinePPO (Kazemnejad et al. 2024,
 * arXiv:2410.01679); with boundaries several steps apart the segments of SPO (Guo et al. 2025, arXiv:2505.23564).
 */

import { isRollout, judge, path, type Problem, type Sampler, type Tree, type Verifier } from "../trajectory/index.ts";
import { sampleAll, countTokens, request } from "../trajectory/rollout.ts";
import { perStep } from "../trajectory/supervise.ts";

export interface MonteCarloConfig {
  /** K: continuations per boundary */
  readonly samples: number;
  /** steps from one boundary whose value is measured to the next; 1: every one */
  readonly every: number;
}

export interface ContinuationConfig {
  /** of a whole completion */
  readonly maxTokens: number;
  /** token ids that end a completion */
  readonly stop?: readonly number[];
}

export interface StepValues {
  /** per tree, per node: the mean outcome of continuations from behind it; NaN where none was measured */
  readonly values: readonly Float64Array[];
  /** continuations */
  readonly probes: number;
  /** generated */
  readonly tokens: number;
}

/**
 * Measures the value of the boundaries inside rollouts, those that several share once. The root's is the mean outcome of the
 * group, which costs nothing. Continuations are judged and forgotten; an unverified one counts nothing.
 */
export async function estimateValues(
  trees: readonly Tree[],
  sampler: Sampler,
  verifier: Verifier,
  { maxTokens, stop }: ContinuationConfig,
  { samples, every }: MonteCarloConfig,
): Promise<StepValues> {
  const asked = trees.flatMap((tree, p) =>
    boundariesOf(tree, every).flatMap((node) => {
      const written = path(tree, node).flatMap((step) => tree.steps[step].tokens);
      const left = maxTokens - written.length;
      if (left < 1) return [];
      const probe = { p, node, written, request: request([...tree.problem.prompt, ...written], left, stop) };
      return Array.from({ length: samples }, () => probe);
    }),
  );
  const completions = await sampleAll(
    sampler,
    asked.map((probe) => probe.request),
    "estimateValues",
  );
  const verdicts = await Promise.all(
    asked.map(({ p, written }, a) => outcome(verifier, trees[p].problem, [...written, ...completions[a].tokens])),
  );
  const means = trees.map((tree) => new Means(tree.steps.length));
  asked.forEach(({ p, node }, a) => {
    means[p].add(node, verdicts[a]);
  });
  trees.forEach((tree, p) => {
    for (const leaf of tree.leaves) if (isRollout(leaf)) means[p].add(0, leaf.outcome ?? NaN);
  });
  return { values: means.map((each) => each.read()), probes: asked.length, tokens: countTokens(completions) };
}

/** Every step of a rollout gets V(behind it) − V(before it); steps between two measured boundaries share the difference. */
export function valueCredits(tree: Tree, values: Float64Array): Float64Array[] {
  return tree.leaves.map((leaf, index) => {
    const nodes = path(tree, leaf.step);
    const counts = isRollout(leaf) && leaf.outcome !== undefined && !Number.isNaN(leaf.outcome);
    const perNode = new Float64Array(nodes.length);
    let before = values[0];
    for (let i = 0, from = 0; counts && i < nodes.length; i++) {
      const value = i === nodes.length - 1 ? (leaf.outcome as number) : values[nodes[i]];
      if (Number.isNaN(value)) continue;
      perNode.fill(value - before, from, i + 1);
      [before, from] = [value, i + 1];
    }
    return perStep(tree, index, (_, i, step) => step.fill(perNode[i]));
  });
}

/** The nodes behind every `every`-th step of a rollout, but for its last. */
function boundariesOf(tree: Tree, every: number): number[] {
  const nodes = new Set<number>();
  for (const leaf of tree.leaves) {
    if (!isRollout(leaf)) continue;
    path(tree, leaf.step).forEach((node, i, { length }) => {
      if (i + 1 < length && (i + 1) % every === 0) nodes.add(node);
    });
  }
  return [...nodes];
}

async function outcome(verifier: Verifier, problem: Problem, completion: readonly number[]): Promise<number> {
  return (await judge(verifier, problem, completion)).outcome;
}

/** Means per node of what is not NaN. Equal numbers give exactly their value: the first is subtracted. */
class Means {
  readonly #first: Float64Array;
  readonly #sum: Float64Array;
  readonly #count: Int32Array;

  constructor(nodes: number) {
    this.#first = new Float64Array(nodes);
    this.#sum = new Float64Array(nodes);
    this.#count = new Int32Array(nodes);
  }

  add(node: number, value: number): void {
    if (Number.isNaN(value)) return;
    if (this.#count[node]++ === 0) this.#first[node] = value;
    this.#sum[node] += value - this.#first[node];
  }

  read(): Float64Array {
    return this.#first.map((first, n) => (this.#count[n] === 0 ? NaN : first + this.#sum[n] / this.#count[n]));
  }
}
