/** Repairs of chain arithmetic, written backward, with parts left out. */

import { chainArithmetic } from "../../src/tasks/chain-arithmetic.ts";
import type { Task } from "../../src/tasks/task.ts";

/**
 * - `shown`: as it is;
 * - `whole`: written back to the start of the chain instead of until it meets the failed attempt;
 * - `hidden`: without the failed attempt in the prompt;
 * - `alone`: both, so that nothing of the failed attempt is used: the answer explained anew.
 */
export const repairVariants = ["shown", "whole", "hidden", "alone"] as const;
export type RepairVariant = (typeof repairVariants)[number];

export const isVariant = (name: string): name is RepairVariant => (repairVariants as readonly string[]).includes(name);

/** @throws RangeError where the task's repairs are not written until they meet something */
export function withoutPart(task: Task, variant: RepairVariant): Task {
  const { repair } = task;
  if (repair?.finished === undefined || repair.parse === undefined) {
    throw new RangeError(`withoutPart: expected ${task.name} to have repairs that are written backward`);
  }
  const { prompt, finished, parse } = repair;
  // No value is −1, so a repair meets nothing of it before the start of the chain.
  const nothing = Array<number>(task.maxTokens).fill(-1);
  const { blank } = chainArithmetic();
  const whole = variant === "whole" || variant === "alone";
  const hidden = variant === "hidden" || variant === "alone";
  return {
    ...task,
    repair: {
      ...repair,
      ...(hidden && { prompt: (problem) => prompt(problem, blank) }),
      ...(whole && {
        finished: (problem, _failed, written) => finished(problem, nothing, written),
        parse: (problem, _failed, written) => parse(problem, nothing, written),
      }),
    },
  };
}
