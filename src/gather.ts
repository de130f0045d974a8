/** The groups of an iteration: solutions with outcomes and corrections, and other groups in place of those that teach nothing. */

import { branch } from "./baselines/tree-search.ts";
import type { Task } from "./tasks/task.ts";
import {
  correct,
  isRollout,
  rollout,
  verify,
  type CorrectConfig,
  type CorrectReport,
  type Problem,
  type Sampler,
  type Tree,
} from "./trajectory/index.ts";

export interface GatherConfig {
  /** P */
  readonly problems: number;
  /** G */
  readonly groupSize: number;
  /** rollouts of a group besides these, from before the most surprising steps of the others */
  readonly branches: number;
  /** asked before every correction: what it may cost can change from one to the next */
  readonly correct: () => CorrectConfig;
  /** how often groups that teach nothing are drawn again, at most */
  readonly rounds: number;
  /** how many more groups may be drawn after so many tokens of this call, corrections at their dearest */
  readonly affordable: (spent: number) => number;
  readonly draw: () => Problem;
  /** hears of groups when their outcomes are known */
  readonly measured?: (trees: readonly Tree[]) => void;
  /** hears of the end of each phase */
  readonly lap: (phase: "rollout" | "correct") => void;
}

export interface Gathered {
  /** `[P]` */
  readonly trees: readonly Tree[];
  /** those that others took the place of */
  readonly replaced: readonly Tree[];
  readonly rolloutTokens: number;
  readonly correct: CorrectReport;
}

export async function gather(task: Task, sampler: Sampler, config: GatherConfig): Promise<Gathered> {
  const first = await groups(task, sampler, config, config.problems);
  const trees = [...first.trees];
  const replaced: Tree[] = [];
  let { rolloutTokens, correct: report } = first;
  for (let round = 0; round < config.rounds; round++) {
    const spent = rolloutTokens + report.repair.tokens + report.search.tokens;
    const places = trees.flatMap((tree, p) => (isAlike(tree) ? [p] : [])).slice(0, config.affordable(spent));
    if (places.length === 0) break;
    const others = await groups(task, sampler, config, places.length);
    places.forEach((p, i) => {
      replaced.push(trees[p]);
      trees[p] = others.trees[i];
    });
    rolloutTokens += others.rolloutTokens;
    report = added(report, others.correct);
  }
  return { trees, replaced, rolloutTokens, correct: report };
}

/** Whether all outcomes are alike and no correction was found, so that nothing can be learned from a group. */
export function isAlike({ leaves }: Tree): boolean {
  const outcomes = new Set(leaves.map(({ outcome }) => outcome).filter(Number.isFinite));
  return outcomes.size <= 1 && leaves.every(isRollout);
}

async function groups(
  task: Task,
  sampler: Sampler,
  config: GatherConfig,
  count: number,
): Promise<Omit<Gathered, "replaced">> {
  const { groupSize, branches, draw } = config;
  const problems = Array.from({ length: count }, draw);
  const { trees, tokens, surprises } = await rollout(problems, sampler, { ...task, groupSize });
  const branched = branches === 0 ? 0 : await branch(trees, surprises, sampler, { ...task, branches });
  const rolloutTokens = tokens + branched;
  await verify(trees, task.verify);
  config.measured?.(trees);
  config.lap("rollout");
  const report = await correct(trees, sampler, task.verify, config.correct());
  config.lap("correct");
  return { trees, rolloutTokens, correct: report };
}

function added(a: CorrectReport, b: CorrectReport): CorrectReport {
  return {
    repair: {
      tried: a.repair.tried + b.repair.tried,
      verified: a.repair.verified + b.repair.verified,
      accepted: a.repair.accepted + b.repair.accepted,
      tokens: a.repair.tokens + b.repair.tokens,
    },
    search: {
      probes: a.search.probes + b.search.probes,
      verified: a.search.verified + b.search.verified,
      tokens: a.search.tokens + b.search.tokens,
    },
  };
}
