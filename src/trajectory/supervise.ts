/** Outcomes to credit per token, in two moves: what each solution earns by itself, then the sum over those that share a step. */

import { differingTokens, identify, type Identification } from "./identify.ts";
import { isRollout, path, stepsOf, type Tree } from "./tree.ts";
import { failed, succeeded } from "./verify.ts";

/**
 * - `outcome`: every rollout carries its advantage A on all of its tokens; corrections are ignored.
 * - `contrast`: a failed rollout with a reference pays −w · p · |A| on the tokens that differ inside its first differing step, and
 *   nothing elsewhere (|A| = 1 where no rollout of the group succeeded; p is `penaltyWeight`); a successful one carries A on
 *   all tokens; a correction +w from the first step on that differs from the solution it corrects.
 * - `positiveOnly`: `contrast` without the negatives; `negativeOnly`: without the positives.
 * - `valueDifference`: V(step) − V(step before), V the mean outcome of the verified rollouts through a node (Kazemnejad et
 *   al. 2024, arXiv:2410.01679, on a tree). Corrections are kept only when they succeed, so they would bias V, and are ignored.
 */
export type CreditRule = "outcome" | "contrast" | "positiveOnly" | "negativeOnly" | "valueDifference";

export interface SuperviseConfig {
  readonly rule: CreditRule;
  /** outcomes of one group (NaN: unverified) to their advantages, in order */
  readonly advantage: (outcomes: Float64Array) => Float64Array;
  /** w; default 1 */
  readonly weight?: number;
  /** p: how much of w · |A| a failed rollout with a reference pays, and nothing else; default 1. Runs are configured with less. */
  readonly penaltyWeight?: number;
  /**
   * which tokens of a failed rollout with a reference pay: those that differ inside the first differing step (default), all of
   * that step, or all from it on
   */
  readonly penalty?: "tokens" | "step" | "suffix";
  /**
   * how the tokens of two steps are held against each other: position by position (default), or by their longest common
   * subsequence, so that a token left out or put in does not shift the rest
   */
  readonly tokenDiff?: "position" | "subsequence";
  /** what `contrast` gives a failed rollout without a reference: nothing (default) or its A on all tokens */
  readonly withoutReference?: "zero" | "outcome";
  /** a leaf succeeded if its outcome is above this; default 0.5 */
  readonly threshold?: number;
}

export interface CreditRow {
  /** Σ of the positive credits */
  readonly positive: number;
  /** Σ of the negative credits */
  readonly negative: number;
  /** solutions that gave a token of this row credit other than 0 */
  readonly contributions: number;
}

export interface Supervision {
  /** S rows */
  readonly credits: readonly CreditRow[];
  /** per node, per token: its credit row, or −1 where no solution gave it credit; the root has −1 everywhere */
  readonly rowOf: readonly Int32Array[];
  /** leaves that gave any token credit */
  readonly creditedLeaves: number;
}

/** The credit of every token of a tree, summed over the solutions that share it. Equal outcomes give no rows. */
export function supervise(tree: Tree, config: SuperviseConfig): Supervision {
  return sumCredits(tree, leafCredits(tree, config));
}

/**
 * What each solution earns by itself: per leaf, one number per token of its completion. This is the unrolled form of
 * `supervise`, without sharing.
 *
 * @throws RangeError for a tree without rollouts, a leaf without an outcome, advantages of another length or not finite
 */
export function leafCredits(tree: Tree, config: SuperviseConfig): Float64Array[] {
  const advantages = groupAdvantages(tree, config);
  switch (config.rule) {
    case "outcome":
      return tree.leaves.map((_, leaf) => everyToken(tree, leaf, advantages[leaf]));
    case "contrast":
      return contrast(tree, advantages, config);
    case "positiveOnly":
      return contrast(tree, advantages, config).map((credits) => credits.map((credit) => Math.max(credit, 0)));
    case "negativeOnly":
      return contrast(tree, advantages, config).map((credits) => credits.map((credit) => Math.min(credit, 0)));
    case "valueDifference":
      return valueDifference(tree);
    default:
      config.rule satisfies never;
      throw new RangeError(`supervise: expected a known rule, received ${String(config.rule)}`);
  }
}

/** `[L]` advantages of the rollouts; 0 for corrections and unverified leaves. */
function groupAdvantages(tree: Tree, config: SuperviseConfig): Float64Array {
  const members = tree.leaves.flatMap((leaf, index) => (isRollout(leaf) ? [index] : []));
  if (members.length === 0) {
    throw new RangeError(`supervise: expected a group of at least one rollout, received none for ${tree.problem.id}`);
  }
  const outcomes = Float64Array.from(members, (index) => outcomeOf(tree, index));
  const estimates = config.advantage(outcomes);
  if (estimates.length !== members.length) {
    throw new RangeError(
      `supervise: expected advantages [G] of length ${members.length}, received a length of ${estimates.length}`,
    );
  }
  const advantages = new Float64Array(tree.leaves.length);
  members.forEach((leaf, g) => {
    if (Number.isNaN(outcomes[g])) return;
    if (!Number.isFinite(estimates[g])) {
      throw new RangeError(`supervise: expected finite advantages, received ${estimates[g]} for leaf ${leaf}`);
    }
    advantages[leaf] = estimates[g];
  });
  return advantages;
}

function outcomeOf(tree: Tree, leaf: number): number {
  const { outcome } = tree.leaves[leaf];
  if (outcome === undefined) {
    throw new RangeError(`supervise: expected verified leaves, leaf ${leaf} of ${tree.problem.id} has no outcome yet`);
  }
  return outcome;
}

function contrast(tree: Tree, advantages: Float64Array, config: SuperviseConfig): Float64Array[] {
  const { weight = 1, penaltyWeight = 1, withoutReference = "zero", threshold } = config;
  const hasSuccess = tree.leaves.some((leaf) => isRollout(leaf) && succeeded(leaf, threshold));
  const identifications = identify(tree, config);
  return tree.leaves.map((leaf, index) => {
    if (!isRollout(leaf))
      return everyToken(tree, index, succeeded(leaf, threshold) ? weight : 0, sharedSteps(tree, index));
    if (!failed(leaf, threshold)) return everyToken(tree, index, advantages[index]);
    const found = identifications[index];
    if (found.reference >= 0) {
      const size = hasSuccess ? Math.abs(advantages[index]) : 1;
      return penalty(tree, index, found, -weight * penaltyWeight * size, config);
    }
    return everyToken(tree, index, withoutReference === "outcome" ? advantages[index] : 0);
  });
}

/** Leading steps that a correction has in common with what it corrects. */
export function sharedSteps(tree: Tree, correction: number): number {
  const { step, corrects } = tree.leaves[correction];
  if (corrects < 0) return 0;
  const own = path(tree, step);
  const corrected = path(tree, tree.leaves[corrects].step);
  let shared = 0;
  while (shared < own.length && own[shared] === corrected[shared]) shared++;
  return shared;
}

/** `credit` on all tokens from step `from` on. */
function everyToken(tree: Tree, leaf: number, credit: number, from = 0): Float64Array {
  return perStep(tree, leaf, (_, index, step) => {
    if (index >= from) step.fill(credit);
  });
}

function penalty(
  tree: Tree,
  leaf: number,
  { firstError, reference }: Identification,
  credit: number,
  { penalty: paying = "tokens", tokenDiff }: SuperviseConfig,
): Float64Array {
  const referenceStep = firstError < 0 ? [] : (stepsOf(tree, reference)[firstError] ?? []);
  return perStep(tree, leaf, (tokens, index, step) => {
    if (firstError < 0 || index < firstError) return;
    if (paying === "suffix" || (paying === "step" && index === firstError)) step.fill(credit);
    if (paying !== "tokens" || index !== firstError) return;
    differingTokens(tokens, referenceStep, tokenDiff).forEach((differs, t) => (step[t] = differs ? credit : 0));
  });
}

/** Zeros for every token of a solution, filled step by step in place. */
export function perStep(
  tree: Tree,
  leaf: number,
  fill: (tokens: readonly number[], index: number, credits: Float64Array) => void,
): Float64Array {
  const steps = stepsOf(tree, leaf);
  const credits = new Float64Array(steps.reduce((sum, tokens) => sum + tokens.length, 0));
  let start = 0;
  steps.forEach((tokens, index) => {
    fill(tokens, index, credits.subarray(start, start + tokens.length));
    start += tokens.length;
  });
  return credits;
}

function valueDifference(tree: Tree): Float64Array[] {
  const values = nodeValues(tree);
  return tree.leaves.map((leaf, index) => {
    const counts = isRollout(leaf) && !Number.isNaN(outcomeOf(tree, index));
    const nodes = path(tree, leaf.step);
    return perStep(tree, index, (_, i, step) => {
      if (counts) step.fill(values[nodes[i]] - values[tree.steps[nodes[i]].parent]);
    });
  });
}

/** V per node; NaN where no verified rollout passes. Equal outcomes give exactly their value: the first is subtracted. */
function nodeValues(tree: Tree): Float64Array {
  const first = new Float64Array(tree.steps.length);
  const sum = new Float64Array(tree.steps.length);
  const count = new Int32Array(tree.steps.length);
  tree.leaves.forEach((leaf, index) => {
    if (!isRollout(leaf)) return;
    const outcome = outcomeOf(tree, index);
    if (Number.isNaN(outcome)) return;
    for (const node of [0, ...path(tree, leaf.step)]) {
      if (count[node]++ === 0) first[node] = outcome;
      sum[node] += outcome - first[node];
    }
  });
  return first.map((value, node) => (count[node] === 0 ? Number.NaN : value + sum[node] / count[node]));
}

/**
 * Sums credits per solution onto the tree. A step whose tokens got different sums has one row per distinct sum.
 *
 * @param credits per leaf, one number per token of its completion, from a rule of this file or from outside (a process
 *   reward model, labels)
 */
export function sumCredits(tree: Tree, credits: readonly Float64Array[]): Supervision {
  if (credits.length !== tree.leaves.length) {
    throw new RangeError(`sumCredits: expected credits of ${tree.leaves.length} leaves, received ${credits.length}`);
  }
  // Per node, three numbers per token: Σ positive, Σ negative, contributions.
  const sums = tree.steps.map((step) => new Float64Array(3 * step.tokens.length));
  credits.forEach((leaf, index) => addLeaf(tree, index, leaf, sums));
  const rows: CreditRow[] = [];
  const rowOf = sums.map((sum) => assignRows(sum, rows));
  return { credits: rows, rowOf, creditedLeaves: credits.filter((leaf) => leaf.some((credit) => credit !== 0)).length };
}

function addLeaf(tree: Tree, leaf: number, credits: Float64Array, sums: readonly Float64Array[]): void {
  let n = 0;
  for (const node of path(tree, tree.leaves[leaf].step)) {
    for (let t = 0; t < tree.steps[node].tokens.length; t++, n++) {
      const credit = credits[n];
      if (!Number.isFinite(credit)) {
        throw new RangeError(
          `sumCredits: expected a finite credit per token, received ${credit} for token ${n} of leaf ${leaf}`,
        );
      }
      if (credit === 0) continue;
      sums[node][3 * t + (credit > 0 ? 0 : 1)] += credit;
      sums[node][3 * t + 2] += 1;
    }
  }
  if (n !== credits.length) {
    throw new RangeError(`sumCredits: expected ${n} credits for leaf ${leaf}, received ${credits.length}`);
  }
}

function assignRows(sum: Float64Array, rows: CreditRow[]): Int32Array {
  const known = new Map<string, number>();
  return Int32Array.from({ length: sum.length / 3 }, (_, t) => {
    const [positive, negative, contributions] = sum.subarray(3 * t, 3 * t + 3);
    if (contributions === 0) return -1;
    const key = `${positive} ${negative} ${contributions}`;
    const row = known.get(key) ?? rows.push({ positive, negative, contributions }) - 1;
    known.set(key, row);
    return row;
  });
}
