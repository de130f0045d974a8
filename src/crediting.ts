/** From an iteration's verified trees to credit, by any of the methods that can be compared; some of them generate for it. */

import { maxrl } from "./advantages/index.ts";
import { estimateValues, valueCredits, type MonteCarloConfig } from "./baselines/monte-carlo.ts";
import { processCredits } from "./baselines/process-scores.ts";
import { treeCredits } from "./baselines/tree-search.ts";
import type { Task } from "./tasks/task.ts";
import {
  grpo,
  rloo,
  sumCredits,
  supervise,
  type CreditRule,
  type Sampler,
  type SuperviseConfig,
  type Supervision,
  type Tree,
} from "./trajectory/index.ts";

/**
 * A rule of `supervise`, or one of
 * - `monteCarlo`: differences of the values of step boundaries, measured by fresh continuations (VinePPO, SPO);
 * - `tree`: leave-one-out over trees that were sampled as trees (TreeRL-like);
 * - `process`: scores of steps from the task.
 */
export type CreditMethod = CreditRule | "monteCarlo" | "tree" | "process";

/** Advantages of a group's outcomes. */
export const groupAdvantages = {
  /** less the mean, over the standard deviation */
  grpo: (outcomes: Float64Array): Float64Array => grpo({ outcomes, eps: 1e-4 }),
  /** less the mean (Dr. GRPO) */
  drGrpo: (outcomes: Float64Array): Float64Array => grpo({ outcomes, std: false }),
  /** less the mean of the others */
  rloo: (outcomes: Float64Array): Float64Array => rloo({ outcomes }),
  /** less the mean, over the mean */
  maxrl: (outcomes: Float64Array): Float64Array => maxrl({ outcomes }),
} as const satisfies Readonly<Record<string, SuperviseConfig["advantage"]>>;

export type AdvantageName = keyof typeof groupAdvantages;
export const advantageNames = Object.keys(groupAdvantages) as readonly AdvantageName[];

export interface CreditConfig extends Pick<
  SuperviseConfig,
  "weight" | "penaltyWeight" | "penalty" | "tokenDiff" | "withoutReference"
> {
  readonly rule: CreditMethod;
  /** default grpo */
  readonly advantage?: AdvantageName;
  /** of monteCarlo; default 2 continuations at every boundary */
  readonly monteCarlo?: MonteCarloConfig;
}

export const monteCarloDefaults: MonteCarloConfig = { samples: 2, every: 1 };

export interface Credited {
  readonly supervisions: readonly Supervision[];
  /** generated for it */
  readonly tokens: number;
}

/** @throws Error where the task cannot give what the rule needs */
export async function creditTrees(
  trees: readonly Tree[],
  sampler: Sampler,
  task: Task,
  config: CreditConfig,
): Promise<Credited> {
  const { rule, advantage = "grpo", monteCarlo = monteCarloDefaults, ...options } = config;
  const free = (credit: (tree: Tree) => Supervision): Credited => ({ supervisions: trees.map(credit), tokens: 0 });
  switch (rule) {
    case "monteCarlo": {
      const { values, tokens } = await estimateValues(trees, sampler, task.verify, task, monteCarlo);
      return { supervisions: trees.map((tree, p) => sumCredits(tree, valueCredits(tree, values[p]))), tokens };
    }
    case "tree":
      return free((tree) => sumCredits(tree, treeCredits(tree)));
    case "process": {
      const { stepScores } = task;
      if (stepScores === undefined) throw new Error(`train: expected the task ${task.name} to score steps for process`);
      return free((tree) =>
        sumCredits(
          tree,
          processCredits(tree, (steps) => stepScores(tree.problem, steps)),
        ),
      );
    }
    default:
      return free((tree) => supervise(tree, { ...options, rule, advantage: groupAdvantages[advantage] }));
  }
}
