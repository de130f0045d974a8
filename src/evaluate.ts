/** Accuracy of a policy on problems that it is not trained on. */

import type { Sampler } from "./trajectory/index.ts";
import { completionOf, rollout, succeeded, verify, type Problem, type Tree } from "./trajectory/index.ts";
import type { Task } from "./tasks/task.ts";

export interface Evaluation {
  /** share of problems whose solution succeeded */
  readonly accuracy: number;
  /** of the successes, the share with a wrong step; undefined where the task cannot tell, 0 without successes */
  readonly falseSuccess: number | undefined;
  /** generated */
  readonly tokens: number;
  /** one per problem, each with its solution and outcome */
  readonly trees: readonly Tree[];
}

/** One solution per problem. */
export async function evaluate(task: Task, problems: readonly Problem[], sampler: Sampler): Promise<Evaluation> {
  const { trees, tokens } = await rollout(problems, sampler, { groupSize: 1, ...task });
  await verify(trees, task.verify);
  const successes = trees.filter((tree) => succeeded(tree.leaves[0]));
  const { firstWrongStep } = task;
  const wrong = (tree: Tree): boolean => (firstWrongStep?.(tree.problem, completionOf(tree, 0)) ?? -1) >= 0;
  const falseSuccess = successes.length === 0 ? 0 : successes.filter(wrong).length / successes.length;
  return {
    accuracy: successes.length / problems.length,
    falseSuccess: firstWrongStep === undefined ? undefined : falseSuccess,
    tokens,
    trees,
  };
}
