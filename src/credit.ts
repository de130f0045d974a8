/** Step credits for recorded rollouts: the group of a problem becomes a tree, and the tree says who earned what. */

import { positions, read, readingOf, sequence, type Reading, type Sequence, type StepRule } from "./credit-reading.ts";
import type { RecordedProblem, RecordedRollout } from "./recorded.ts";
import type { Tokenizer } from "./tokenizers/tokenizer.ts";
import { grpo, rloo } from "./trajectory/advantages.ts";
import type { CritiqueReport } from "./trajectory/critique.ts";
import { identify, type Identification } from "./trajectory/identify.ts";
import type { Problem, Range } from "./trajectory/problem.ts";
import type { RepairReport } from "./trajectory/repair.ts";
import type { SearchReport } from "./trajectory/search.ts";
import { leafCredits, sharedSteps, type CreditRule } from "./trajectory/supervise.ts";
import { createTree, graft, stepsOf, type Tree } from "./trajectory/tree.ts";
import type { Verdict } from "./trajectory/verify.ts";

export type { StepRule } from "./credit-reading.ts";

export type AdvantageName = "grpo" | "rloo";

export interface CreditConfig {
  /** default: lines where all rollouts have a text or there is a tokenizer, else every token is a step */
  readonly steps?: StepRule;
  /** default `contrast` */
  readonly rule?: CreditRule;
  /** default `grpo`; a group of one has nothing to be compared with and gets 0 */
  readonly advantage?: AdvantageName;
  /**
   * of `contrast`: how much of its |A| a failed rollout pays; default 1, all of it. The lighter default of training was measured
   * there, with this package's update; what another trainer does best with is not known.
   */
  readonly penaltyWeight?: number;
  /** a rollout succeeded if its reward is above this; default 0.5 */
  readonly threshold?: number;
  /** makes tokens of texts, so that positions count tokens everywhere; default none */
  readonly tokenizer?: Tokenizer;
}

/** A stretch of text whose characters carry the same advantage, not 0. */
export interface AdvantageRange extends Range {
  readonly advantage: number;
}

/** What a solution earns by itself: of a step that several share each holds its own credit, not the sum. */
export interface Credits {
  readonly steps: readonly Range[];
  /** one per step: the credit that its tokens carry; those that agree with the reference's step carry none */
  readonly stepCredits: readonly number[];
  /** one per token; of a text, the ranges that are not 0 */
  readonly advantages: readonly number[] | readonly AdvantageRange[];
}

/** A rollout with its credits. Positions count tokens, or the UTF-16 units of a text. */
export interface CreditedRollout extends RecordedRollout, Credits {
  /** null: unverified */
  readonly reward: number | null;
  /**
   * the first step that differs from the reference; −1: the rollout did not fail, has no reference, or only stopped too
   * early (a reference begins with all of its steps)
   */
  readonly firstError: number;
  /** index of the verified rollout that agrees with it longest; −1: none, or a correction agrees longer */
  readonly reference: number;
  /** index of the correction that is its reference, where one is */
  readonly correction?: number | undefined;
  /** why it took no part: its advantages are 0, and so is its share in those of the others */
  readonly unverified?: string | undefined;
}

/** A verified solution that was written in place of a failed rollout. */
export interface CreditedCorrection extends Credits {
  /** index of the rollout that it corrects */
  readonly rollout: number;
  readonly source: CorrectionSource;
  /** tokens that were generated for it; those of attempts that failed are in `spent` alone */
  readonly generated: number;
  /** leading steps that are those of the rollout */
  readonly sharedSteps: number;
  /** the whole solution, where it can be read */
  readonly text?: string;
  /** the same in tokens, where positions count them */
  readonly tokens?: readonly number[];
  readonly reward: number;
}

export type CorrectionSource = "repair" | "critique" | "search";

/** What was asked of an engine, by source; a source that was not reached is missing. */
export interface Spent {
  /** generated in all */
  readonly tokens: number;
  readonly repair?: RepairReport;
  readonly critique?: CritiqueReport;
  readonly search?: SearchReport;
}

export interface CreditedProblem extends RecordedProblem {
  /** what positions count */
  readonly unit: Reading["unit"];
  readonly rollouts: readonly CreditedRollout[];
  /** none where no engine was asked: then recorded rollouts are compared with each other */
  readonly corrections: readonly CreditedCorrection[];
  /** where an engine was there to be asked */
  readonly spent?: Spent | undefined;
  /** why it could not be asked to the end; the credits are those of what was found until then */
  readonly error?: string | undefined;
}

/** The rollouts of a problem as a tree. Its first leaves are the members, in their order; corrections come behind them. */
export interface RecordedGroup {
  readonly problem: RecordedProblem;
  readonly reading: Reading;
  readonly sequences: readonly Sequence[];
  readonly tree: Tree;
  /** indices of the rollouts that take part */
  readonly members: readonly number[];
  /** per rollout, why it does not */
  readonly reasons: readonly (string | undefined)[];
}

const estimators: Readonly<Record<AdvantageName, (outcomes: Float64Array) => Float64Array>> = {
  grpo: (outcomes) => grpo({ outcomes, singleton: "zero" }),
  rloo: (outcomes) => rloo({ outcomes, singleton: "zero" }),
};

/**
 * Adds to every rollout its steps, first error, reference, credits and advantages; what the problem holds besides is kept.
 *
 * @throws TypeError where the rollouts lack the text or the tokens that the step rule needs
 */
export function creditRecorded(problem: RecordedProblem, config: CreditConfig = {}): CreditedProblem {
  const reading = readingOf(problem.rollouts, config.steps, config.tokenizer);
  const sequences = problem.rollouts.map((rollout, g) => read(rollout, g, reading));
  return creditGroup(groupOf(problem, reading, sequences), config);
}

/**
 * @param asked the problem as a sampler is asked; default none is
 * @param verdicts per rollout, in place of its reward where there is one
 */
export function groupOf(
  problem: RecordedProblem,
  reading: Reading,
  sequences: readonly Sequence[],
  asked: Problem = { id: String(problem.id), prompt: [] },
  verdicts: readonly (Verdict | undefined)[] = [],
): RecordedGroup {
  const tree = createTree(asked);
  const members: number[] = [];
  const reasons = problem.rollouts.map((rollout, g) => {
    const { ids, steps } = sequences[g];
    const { outcome, reason = whyUnverified(outcome, ids) } = verdicts[g] ?? { outcome: rollout.reward };
    if (reason !== undefined) return reason;
    const pieces = steps.map(({ start, end }) => ids.slice(start, end));
    graft(tree, 0, pieces, { source: "recorded", outcome: outcome as number });
    members.push(g);
    return undefined;
  });
  return { problem, reading, sequences, tree, members, reasons };
}

/** The credit of every rollout, and of the corrections that its tree has grown. */
export function creditGroup(group: RecordedGroup, config: CreditConfig): CreditedProblem {
  const { problem, reading, sequences, tree, members, reasons } = group;
  const { rule = "contrast", advantage = "grpo", penaltyWeight = 1, threshold } = config;
  const success = threshold === undefined ? {} : { threshold };
  const rules = { rule, advantage: estimators[advantage], penaltyWeight, ...success };
  const credits = members.length === 0 ? [] : leafCredits(tree, rules);
  const found = identify(tree, success);
  const rollouts = problem.rollouts.map((rollout, g): CreditedRollout => {
    const leaf = members.indexOf(g);
    const solution = sequences[g];
    const own = leaf < 0 ? new Float64Array(solution.ids.length) : credits[leaf];
    const isText = reading.unit === "token" && rollout.tokens === undefined;
    return {
      ...rollout,
      ...(isText && { tokens: solution.ids }),
      reward: leaf < 0 ? null : (tree.leaves[leaf].outcome as number),
      ...referenceOf(leaf < 0 ? undefined : found[leaf], members),
      ...creditsOf(solution, own, reading),
      unverified: reasons[g],
    };
  });
  const corrections = tree.leaves
    .slice(members.length)
    .map((_, c) => creditedCorrection(group, members.length + c, credits[members.length + c]));
  // What an earlier call left is not kept.
  return { ...problem, unit: reading.unit, rollouts, corrections, spent: undefined, error: undefined };
}

function referenceOf(found: Identification | undefined, members: readonly number[]) {
  const { firstError, reference } = found ?? { firstError: -1, reference: -1 };
  if (reference < members.length) {
    return { firstError, reference: reference < 0 ? -1 : members[reference], correction: undefined };
  }
  return { firstError, reference: -1, correction: reference - members.length };
}

function creditedCorrection(
  { reading, tree, members }: RecordedGroup,
  leaf: number,
  own: Float64Array,
): CreditedCorrection {
  const { corrects, source, outcome, generated = 0 } = tree.leaves[leaf];
  const pieces = stepsOf(tree, leaf);
  const ids = pieces.flat();
  let end = 0;
  const steps = pieces.map(({ length }) => ({ start: end, end: (end += length) }));
  const { unit, tokenizer } = reading;
  return {
    rollout: members[corrects],
    source: source as CorrectionSource,
    generated,
    sharedSteps: sharedSteps(tree, leaf),
    ...(tokenizer !== undefined && { text: tokenizer.decode(ids) }),
    ...(unit === "token" && { tokens: ids }),
    reward: outcome as number,
    ...creditsOf(sequence(ids, steps, unit), own, reading),
  };
}

function creditsOf(solution: Sequence, own: Float64Array, { unit }: Reading): Credits {
  return {
    steps: solution.steps.map((step) => positions(step, solution)),
    stepCredits: solution.steps.map(({ start, end }) => own.subarray(start, end).find((credit) => credit !== 0) ?? 0),
    advantages: unit === "token" ? Array.from(own, (credit) => (credit === 0 ? 0 : credit)) : ranges(own, solution),
  };
}

function whyUnverified(reward: number | null | undefined, ids: readonly number[]): string | undefined {
  if (ids.length === 0) return "empty";
  if (reward === undefined || reward === null) return "no reward";
  return Number.isFinite(reward) ? undefined : "reward is not finite";
}

function ranges(credits: Float64Array, solution: Sequence): AdvantageRange[] {
  const found: AdvantageRange[] = [];
  for (let start = 0, end = 0; start < credits.length; start = end) {
    const advantage = credits[start];
    while (end < credits.length && credits[end] === advantage) end++;
    if (advantage !== 0) found.push({ ...positions({ start, end }, solution), advantage });
  }
  return found;
}
