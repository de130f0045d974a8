/** Step credits for recorded rollouts: the group of a problem becomes a tree, and the tree says who earned what. */

import type { RecordedProblem, RecordedRollout } from "./recorded.ts";
import { grpo, rloo } from "./trajectory/advantages.ts";
import { identify } from "./trajectory/identify.ts";
import type { Range, Segmenter } from "./trajectory/problem.ts";
import { delimiter, fixedTokens } from "./trajectory/segment.ts";
import { leafCredits, type CreditRule } from "./trajectory/supervise.ts";
import { createTree, graft } from "./trajectory/tree.ts";

/** Where steps end: after each line feed of a text; after every so many tokens; after certain tokens. */
export type StepRule =
  | { readonly kind: "newline" }
  | { readonly kind: "tokens"; readonly count: number }
  | { readonly kind: "delimiter"; readonly tokenIds: readonly number[] };

export type AdvantageName = "grpo" | "rloo";

export interface CreditConfig {
  /** default: the lines of rollouts that all have a text, else every token is a step */
  readonly steps?: StepRule;
  /** default `contrast` */
  readonly rule?: CreditRule;
  /** default `grpo`; a group of one has nothing to be compared with and gets 0 */
  readonly advantage?: AdvantageName;
  /** a rollout succeeded if its reward is above this; default 0.5 */
  readonly threshold?: number;
}

/** A stretch of text whose characters carry the same advantage, not 0. */
export interface AdvantageRange extends Range {
  readonly advantage: number;
}

/**
 * A rollout with what it earns by itself: of a step that several rollouts share each holds its own credit, not the sum.
 * Positions count tokens, or the UTF-16 units of a text.
 */
export interface CreditedRollout extends RecordedRollout {
  /** null: unverified */
  readonly reward: number | null;
  readonly steps: readonly Range[];
  /**
   * the first step that differs from the reference; −1: the rollout did not fail, has no reference, or only stopped too
   * early (a reference begins with all of its steps)
   */
  readonly firstError: number;
  /** index of the verified rollout that agrees with it longest; −1: none */
  readonly reference: number;
  /** one per step: the credit that its tokens carry; those that agree with the reference's step carry none */
  readonly stepCredits: readonly number[];
  /** one per token; of a text, the ranges that are not 0 */
  readonly advantages: readonly number[] | readonly AdvantageRange[];
  /** why it took no part: its advantages are 0, and so is its share in those of the others */
  readonly unverified?: string | undefined;
}

export interface CreditedProblem extends RecordedProblem {
  /** what positions count */
  readonly unit: "token" | "utf16";
  readonly rollouts: readonly CreditedRollout[];
  /** none: recorded rollouts are compared with each other, and nothing is sampled */
  readonly corrections: readonly [];
}

/** A rollout as ids, and where each of them begins in the rollout as it was given. */
interface Sequence {
  readonly ids: readonly number[];
  readonly steps: readonly Range[];
  readonly positionOf: (index: number) => number;
}

const lineFeed = 0x0a;

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
  const { rule = "contrast", advantage = "grpo", threshold } = config;
  const success = threshold === undefined ? {} : { threshold };
  const steps = config.steps ?? defaultSteps(problem.rollouts);
  const sequences = problem.rollouts.map((rollout, g) => sequenceOf(rollout, g, steps));
  const reasons = problem.rollouts.map((rollout, g) => whyUnverified(rollout, sequences[g]));

  const tree = createTree({ id: String(problem.id), prompt: [] });
  const members = problem.rollouts.flatMap((rollout, g) => {
    if (reasons[g] !== undefined) return [];
    const { ids, steps } = sequences[g];
    const outcome = rollout.reward as number;
    graft(
      tree,
      0,
      steps.map(({ start, end }) => ids.slice(start, end)),
      { source: "recorded", outcome },
    );
    return [g];
  });
  const credits = members.length === 0 ? [] : leafCredits(tree, { rule, advantage: estimators[advantage], ...success });
  const found = identify(tree, success);

  const unit = steps.kind === "newline" ? "utf16" : "token";
  const rollouts = problem.rollouts.map((rollout, g): CreditedRollout => {
    const leaf = members.indexOf(g);
    const sequence = sequences[g];
    const own = leaf < 0 ? new Float64Array(sequence.ids.length) : credits[leaf];
    return {
      ...rollout,
      reward: leaf < 0 ? null : (rollout.reward as number),
      steps: sequence.steps.map((step) => positions(step, sequence)),
      firstError: leaf < 0 ? -1 : found[leaf].firstError,
      reference: leaf < 0 || found[leaf].reference < 0 ? -1 : members[found[leaf].reference],
      stepCredits: sequence.steps.map(({ start, end }) => own.subarray(start, end).find((credit) => credit !== 0) ?? 0),
      advantages: unit === "token" ? Array.from(own, (credit) => (credit === 0 ? 0 : credit)) : ranges(own, sequence),
      unverified: reasons[g],
    };
  });
  return { ...problem, unit, rollouts, corrections: [] };
}

function defaultSteps(rollouts: readonly RecordedRollout[]): StepRule {
  return rollouts.every(({ text }) => text !== undefined) ? { kind: "newline" } : { kind: "tokens", count: 1 };
}

function sequenceOf(rollout: RecordedRollout, g: number, rule: StepRule): Sequence {
  const { text, tokens } = rollout;
  if (rule.kind === "newline") {
    if (text === undefined)
      throw new TypeError(`rollouts[${g}].text: lines are steps of a text, and it has only tokens`);
    return textSequence(text);
  }
  if (tokens === undefined) {
    throw new TypeError(`rollouts[${g}].tokens: steps are counted in tokens here, and it has only a text`);
  }
  return { ids: tokens, steps: segmenter(rule)(tokens), positionOf: (index) => index };
}

function segmenter(rule: Exclude<StepRule, { readonly kind: "newline" }>): Segmenter {
  return rule.kind === "tokens" ? fixedTokens(rule.count) : delimiter(rule.tokenIds);
}

/** Characters are compared whole, so that no range parts the two units of one. */
function textSequence(text: string): Sequence {
  const ids = Array.from(text, (character) => character.codePointAt(0) as number);
  const steps = delimiter([lineFeed])(ids);
  if (ids.length === text.length) return { ids, steps, positionOf: (index) => index };
  const starts = new Uint32Array(ids.length + 1);
  ids.forEach((id, index) => (starts[index + 1] = starts[index] + (id > 0xffff ? 2 : 1)));
  return { ids, steps, positionOf: (index) => starts[index] };
}

function whyUnverified({ reward }: RecordedRollout, { ids }: Sequence): string | undefined {
  if (ids.length === 0) return "empty";
  if (reward === undefined || reward === null) return "no reward";
  return Number.isFinite(reward) ? undefined : "reward is not finite";
}

function positions({ start, end }: Range, { positionOf }: Sequence): Range {
  return { start: positionOf(start), end: positionOf(end) };
}

function ranges(credits: Float64Array, sequence: Sequence): AdvantageRange[] {
  const found: AdvantageRange[] = [];
  for (let start = 0, end = 0; start < credits.length; start = end) {
    const advantage = credits[start];
    while (end < credits.length && credits[end] === advantage) end++;
    if (advantage !== 0) found.push({ ...positions({ start, end }, sequence), advantage });
  }
  return found;
}
