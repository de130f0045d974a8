/** Outcomes: the only thing that is ever asked about a solution. */

import type { Problem, Verifier } from "./problem.ts";
import { completionOf, type Leaf, type Tree } from "./tree.ts";

/** An outcome above this is a success. */
export const successThreshold = 0.5;

export interface SuccessOptions {
  /** a leaf succeeded if its outcome is above this; default 0.5 */
  readonly threshold?: number;
}

/** Verified, with an outcome above the threshold. */
export function succeeded(leaf: Pick<Leaf, "outcome">, threshold: number = successThreshold): boolean {
  return leaf.outcome !== undefined && leaf.outcome > threshold;
}

/** Verified, with an outcome not above the threshold. An unverified leaf neither succeeded nor failed. */
export function failed(leaf: Pick<Leaf, "outcome">, threshold: number = successThreshold): boolean {
  return leaf.outcome !== undefined && leaf.outcome <= threshold;
}

export interface Verdict {
  /** NaN: unverified */
  readonly outcome: number;
  /** why it is unverified */
  readonly reason?: string;
}

/** Asks the verifier. Whatever it throws becomes the reason of an unverified verdict. */
export async function judge(
  verifier: Verifier,
  problem: Problem,
  completion: readonly number[],
  finished?: boolean,
): Promise<Verdict> {
  try {
    const outcome = await verifier(problem, completion, finished);
    if (Number.isFinite(outcome)) return { outcome };
    return { outcome: Number.NaN, reason: `verifier: expected a finite number, received ${String(outcome)}` };
  } catch (error) {
    return { outcome: Number.NaN, reason: error instanceof Error ? error.message : String(error) };
  }
}

export interface VerifyReport {
  /** leaves that got an outcome */
  readonly verified: number;
  /** leaves whose verifier threw or gave no finite number */
  readonly unverified: number;
}

/** Fills in the outcome of every leaf that has none yet. */
export async function verify(trees: readonly Tree[], verifier: Verifier): Promise<VerifyReport> {
  const verdicts = await Promise.all(
    trees.flatMap((tree) =>
      tree.leaves.flatMap((leaf, index) => (leaf.outcome === undefined ? [settle(tree, leaf, index, verifier)] : [])),
    ),
  );
  const unverified = verdicts.filter((verdict) => Number.isNaN(verdict.outcome)).length;
  return { verified: verdicts.length - unverified, unverified };
}

async function settle(tree: Tree, leaf: Leaf, index: number, verifier: Verifier): Promise<Verdict> {
  const verdict = await judge(verifier, tree.problem, completionOf(tree, index));
  leaf.outcome = verdict.outcome;
  if (verdict.reason !== undefined) leaf.reason = verdict.reason;
  return verdict;
}
