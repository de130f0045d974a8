/** How often each way to find a reference names a step of a failed rollout, how often it is the first wrong one, and its price. */

import { packSequences } from "../../src/batch.ts";
import type { Policy } from "../../src/policy.ts";
import type { Task } from "../../src/tasks/task.ts";
import { regrow } from "../../src/trajectory/corrections.ts";
import {
  completionOf,
  correct,
  failed,
  identify,
  isRollout,
  plausibleRepairs,
  rollout,
  succeeded,
  verify,
  type CorrectConfig,
  type CritiqueConfig,
  type Problem,
  type RepairFilter,
  type Sampler,
  type SearchConfig,
  type Tree,
} from "../../src/trajectory/index.ts";
import { measureLogprobs } from "../../src/reference.ts";

/** A way to find references. All but `siblings` are asked where a group has no success. */
export type Strategy =
  | { readonly kind: "siblings" }
  /** other rollouts of the problem, so many per failure */
  | { readonly kind: "rollouts"; readonly samples: number }
  | { readonly kind: "search"; readonly search: SearchConfig }
  /** `plausibility` 0: every repair that the verifier confirms is believed */
  | { readonly kind: "repair"; readonly plausibility: number }
  /**
   * a step is named by the policy's own critique, by the checker or at random, and the failure continued from before it; the
   * naming costs no tokens but the policy's
   */
  | { readonly kind: "critique"; readonly by: "policy" | "checker" | "chance"; readonly samples: number };

export interface StrategyResult {
  /** failed rollouts that it was asked about */
  readonly failed: number;
  /** of these, with a reference */
  readonly withReference: number;
  /** of these, the named step is the first wrong one */
  readonly agreed: number;
  /** generated, the rollouts themselves apart */
  readonly tokens: number;
}

export interface StrategyOptions {
  /** rollouts per problem */
  readonly groupSize: number;
  readonly seed: number;
}

/**
 * Rolls out the problems, the same way for every strategy, and asks one strategy about the failures.
 * @throws RangeError where the task cannot tell the first wrong step, or has no repairs or critiques to ask for
 */
export async function measureStrategy(
  policy: Policy,
  task: Task,
  problems: readonly Problem[],
  strategy: Strategy,
  { groupSize, seed }: StrategyOptions,
): Promise<StrategyResult> {
  const { firstWrongStep } = task;
  if (firstWrongStep === undefined) {
    throw new RangeError(`measureStrategy: expected ${task.name} to tell the first wrong step, it cannot`);
  }
  const sampler = policy.sampler({ seed, temperature: 1 });
  const { trees } = await rollout(problems, sampler, { ...task, groupSize });
  await verify(trees, task.verify);
  const isOpen = ({ leaves }: Tree): boolean => !leaves.some((leaf) => succeeded(leaf));
  const asked = strategy.kind === "siblings" ? trees : trees.filter(isOpen);
  const tokens = await ask(asked, sampler, policy, task, strategy);
  let [failures, withReference, agreed] = [0, 0, 0];
  for (const tree of asked) {
    identify(tree).forEach(({ reference, firstError }, index) => {
      const leaf = tree.leaves[index];
      if (!isRollout(leaf) || !failed(leaf)) return;
      failures++;
      if (reference < 0) return;
      withReference++;
      if (firstWrongStep(tree.problem, completionOf(tree, index)) === firstError) agreed++;
    });
  }
  return { failed: failures, withReference, agreed, tokens };
}

/** Grows the trees by what a strategy finds; gives the tokens that it generated. */
async function ask(
  trees: readonly Tree[],
  sampler: Sampler,
  policy: Policy,
  task: Task,
  strategy: Strategy,
): Promise<number> {
  const { repair, critique: written, ...shape } = task;
  const corrected = (config: Partial<CorrectConfig>) => correct(trees, sampler, task.verify, { ...shape, ...config });
  switch (strategy.kind) {
    case "siblings":
      return 0;
    case "rollouts": {
      const places = trees.flatMap((tree) => tree.leaves.map((_leaf, leaf) => ({ tree, leaf, kept: 0 })));
      return (await regrow(places, strategy.samples, "search", sampler, task.verify, shape)).tokens;
    }
    case "search":
      return (await corrected({ search: strategy.search })).search.tokens;
    case "repair": {
      if (repair === undefined) throw new RangeError(`measureStrategy: expected ${task.name} to have repairs`);
      const filter = strategy.plausibility > 0 && { filter: plausible(policy, strategy.plausibility) };
      return (await corrected({ repair: { ...repair, ...filter } })).repair.tokens;
    }
    case "critique": {
      if (strategy.by === "policy") {
        if (written === undefined) throw new RangeError(`measureStrategy: expected ${task.name} to have critiques`);
        return (await corrected({ critique: { ...written, samples: strategy.samples } })).critique.tokens;
      }
      const { critique } = await corrected({ critique: namedBy(task, strategy.by, strategy.samples) });
      return critique.tokens - critique.asked;
    }
    default:
      return strategy satisfies never;
  }
}

function plausible(policy: Policy, least: number): RepairFilter {
  return plausibleRepairs((sequences) => {
    if (sequences.length === 0) return [];
    const batch = packSequences(
      sequences.map(({ tokens }) => tokens),
      { from: sequences.map(({ from }) => from) },
    );
    const logprobs = measureLogprobs(policy, batch);
    let n = 0;
    return sequences.map(({ tokens, from }) => logprobs.slice(n, (n += tokens.length - from)));
  }, least);
}

/** A critique of one token that nobody reads: a program names the step. */
function namedBy({ firstWrongStep }: Task, by: "checker" | "chance", samples: number): CritiqueConfig {
  // The prompts of all critiques are asked for before the first is parsed, in one order.
  const named: number[] = [];
  let draw = 0;
  return {
    maxTokens: 1,
    samples,
    prompt(problem, steps) {
      // Fractional parts of multiples of the golden ratio: as even as chance, and the same in every run.
      const chance = Math.floor(((++draw * 0.618033988749895) % 1) * steps.length);
      named.push(by === "chance" ? chance : (firstWrongStep?.(problem, steps.flat()) ?? -1));
      return problem.prompt;
    },
    parse: () => named.shift() ?? null,
  };
}
