/** One trajectory as a person reads it: the failed steps, the step blamed, the correction, the credit of each step. */

import pc from "picocolors";

import type { Task } from "../tasks/task.ts";
import {
  completionOf,
  identify,
  isRollout,
  leafCredits,
  path,
  type SuperviseConfig,
  type Tree,
} from "../trajectory/index.ts";

export interface Example {
  readonly tree: Tree;
  /** a failed rollout with a reference */
  readonly leaf: number;
  /** how much it shows: 2 a correction of its own that shares steps with it, 1 a shared beginning, 0 neither */
  readonly rank: number;
}

/** The failed rollout among the trees that shows most. */
export function findExample(trees: readonly Tree[]): Example | undefined {
  const found = trees.flatMap((tree) =>
    identify(tree).flatMap(({ reference, firstError }, leaf): Example[] => {
      if (reference < 0 || firstError < 0 || !isRollout(tree.leaves[leaf])) return [];
      const own = tree.leaves[reference].corrects === leaf;
      return [{ tree, leaf, rank: firstError < 2 ? 0 : own ? 2 : 1 }];
    }),
  );
  return found.find(({ rank }) => rank === 2) ?? found.find(({ rank }) => rank === 1) ?? found[0];
}

/** Lines for a terminal. Steps that both solutions share are plain, the blamed one is red, the correction green. */
export function writeExample(task: Task, tree: Tree, leaf: number, config: SuperviseConfig): string {
  const { reference, firstError } = identify(tree, config)[leaf];
  const credits = leafCredits(tree, config);
  const stepsOf = (index: number) =>
    path(tree, tree.leaves[index].step).map((node) => task.write(tree.steps[node].tokens));
  const creditsOf = (index: number): string[] => {
    const tokens = completionOf(tree, index);
    const bySteps: string[] = [];
    let t = 0;
    for (const node of path(tree, tree.leaves[index].step)) {
      const own = [...credits[index].slice(t, t + tree.steps[node].tokens.length)];
      t += own.length;
      const most = own.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
      bySteps.push(most === 0 ? "0" : `${most > 0 ? "+" : "−"}${Math.abs(most).toFixed(2)}`);
    }
    if (t !== tokens.length) throw new RangeError(`example: expected ${tokens.length} tokens in steps, received ${t}`);
    return bySteps;
  };
  const failedSteps = stepsOf(leaf);
  const rightSteps = stepsOf(reference);
  const failedCredits = creditsOf(leaf);
  const rightCredits = creditsOf(reference);
  const widths = failedSteps.map((step, s) =>
    Math.max(step.length, rightSteps[s]?.length ?? 0, failedCredits[s].length, rightCredits[s]?.length ?? 0),
  );
  const line = (cells: readonly string[], paint: (text: string, step: number) => string): string =>
    cells.map((cell, s) => paint(cell.padStart(widths[s] ?? cell.length), s)).join(pc.dim(" │ "));
  const truth = task.firstWrongStep?.(tree.problem, completionOf(tree, leaf));
  const source = tree.leaves[reference].source === "rollout" ? "sibling" : tree.leaves[reference].source;
  return [
    `problem     ${task.write(tree.problem.prompt)}   (answer ${String(tree.problem.answer)})`,
    `failed      ${line(failedSteps, (text, s) => (s < firstError ? text : s === firstError ? pc.bold(pc.red(text)) : pc.dim(text)))}`,
    `  credit    ${line(failedCredits, (text) => (text.trim() === "0" ? pc.dim(text) : pc.red(text)))}`,
    `${source.padEnd(11)} ${line(rightSteps, (text, s) => (s < firstError ? text : pc.green(text)))}`,
    `  credit    ${line(rightCredits, (text) => (text.trim() === "0" ? pc.dim(text) : pc.green(text)))}`,
    `blamed      step ${firstError + 1}${truth === undefined ? "" : truth === firstError ? ", the first wrong one" : `; the first wrong one is step ${truth + 1}`}`,
  ].join("\n");
}
