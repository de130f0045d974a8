/** What an iteration of training reports, and how much of it is read off its trees. */

import type { ReplayMetrics } from "./replay.ts";
import type { Task } from "./tasks/task.ts";
import {
  completionOf,
  identify,
  isRollout,
  path,
  succeeded,
  type CorrectReport,
  type Supervision,
  type Tree,
} from "./trajectory/index.ts";
import type { UpdateMetrics } from "./update.ts";

export interface IdentifyMetrics {
  /** failed rollouts */
  readonly failed: number;
  /** of these, with a verified reference */
  readonly withReference: number;
  /** with a reference, where the task can tell the first wrong step */
  readonly judged: number;
  /** of these, the blamed step is the first wrong one */
  readonly agreed: number;
  /** references by source */
  readonly sources: Readonly<Record<string, number>>;
}

export interface IterationMetrics {
  readonly iteration: number;
  /** P */
  readonly problems: number;
  /** generated since training began, this iteration included */
  readonly tokens: number;
  /** generated in this iteration, by phase */
  readonly rolloutTokens: number;
  readonly repairTokens: number;
  readonly critiqueTokens: number;
  readonly searchTokens: number;
  /** for credit alone: continuations that measure the values of steps */
  readonly valueTokens: number;
  /** steps of the optimizers since training began, supervised ones included */
  readonly updates: number;
  /** share of rollouts that succeeded, of replaced groups too */
  readonly accuracy: number;
  /** share of groups without a success, replaced ones among them */
  readonly groupsWithoutSuccess: number;
  /** share of groups in which every rollout succeeded, replaced ones among them */
  readonly groupsWithoutFailure: number;
  /** groups that others took the place of because all of their outcomes were alike */
  readonly resampled: number;
  readonly identify: IdentifyMetrics;
  readonly correct: CorrectReport;
  /** share of the negative credit that lies on true first errors; undefined where the task cannot tell or there is none */
  readonly creditOnFirstErrors: number | undefined;
  readonly update: UpdateMetrics;
  readonly replay: ReplayMetrics;
  /** wall time by phase; replay is part of the update */
  readonly seconds: {
    readonly rollout: number;
    readonly correct: number;
    readonly credit: number;
    readonly update: number;
  };
}

/** How many rollouts succeeded, and how many groups as a whole. */
export function outcomes(
  trees: readonly Tree[],
): Pick<IterationMetrics, "accuracy" | "groupsWithoutSuccess" | "groupsWithoutFailure"> {
  let rollouts = 0;
  let successes = 0;
  let allWrong = 0;
  let allRight = 0;
  for (const tree of trees) {
    const members = tree.leaves.filter(isRollout);
    const succeededHere = members.filter((leaf) => succeeded(leaf)).length;
    rollouts += members.length;
    successes += succeededHere;
    if (succeededHere === 0) allWrong++;
    if (succeededHere === members.length) allRight++;
  }
  return {
    accuracy: successes / rollouts,
    groupsWithoutSuccess: allWrong / trees.length,
    groupsWithoutFailure: allRight / trees.length,
  };
}

/** What `identify` finds in trees, held against the truth where the task knows it. */
export function identification(task: Task, trees: readonly Tree[]): IdentifyMetrics {
  const counts = { failed: 0, withReference: 0, judged: 0, agreed: 0 };
  const sources: Record<string, number> = {};
  for (const tree of trees) {
    identify(tree).forEach((found, index) => {
      const leaf = tree.leaves[index];
      if (!isRollout(leaf) || succeeded(leaf)) return;
      counts.failed++;
      if (found.reference < 0 || found.source === undefined) return;
      counts.withReference++;
      sources[found.source] = (sources[found.source] ?? 0) + 1;
      if (task.firstWrongStep === undefined) return;
      counts.judged++;
      if (task.firstWrongStep(tree.problem, completionOf(tree, index)) === found.firstError) counts.agreed++;
    });
  }
  return { ...counts, sources };
}

/** Of Σ |negative credit| over tokens, the share on steps that are the first wrong one of a rollout through them. */
export function creditOnFirstErrors(
  task: Task,
  trees: readonly Tree[],
  supervisions: readonly Supervision[],
): number | undefined {
  if (task.firstWrongStep === undefined) return undefined;
  let all = 0;
  let placed = 0;
  trees.forEach((tree, p) => {
    const wrong = new Set<number>();
    tree.leaves.forEach((leaf, index) => {
      const step = task.firstWrongStep?.(tree.problem, completionOf(tree, index)) ?? -1;
      if (isRollout(leaf) && step >= 0) wrong.add(path(tree, leaf.step)[step]);
    });
    const { credits, rowOf } = supervisions[p];
    rowOf.forEach((rows, node) => {
      for (const row of rows) {
        if (row < 0) continue;
        all -= credits[row].negative;
        if (wrong.has(node)) placed -= credits[row].negative;
      }
    });
  });
  return all === 0 ? undefined : placed / all;
}
