/**
 * A group's solutions as one tree: solutions that begin alike share their first steps. It only grows: steps and leaves are
 * added, outcomes are filled in, nothing is rewritten.
 */

import type { Problem } from "./problem.ts";

export interface Step {
  /** node id; −1 for the root. Parents come before their children. */
  readonly parent: number;
  /** at least one, except in the root, which holds the prompt */
  readonly tokens: readonly number[];
  /** node ids in the order of their arrival; no two with equal tokens */
  readonly children: number[];
}

/** `rollout` and `recorded` solutions form the group; `repair`, `critique` and `search` are corrections of one of them. */
export type LeafSource = "rollout" | "repair" | "critique" | "search" | "recorded";

/** The end of one solution. Equal solutions are several leaves at one node, and a leaf may end at an inner node. */
export interface Leaf {
  /** node id of its last step; 0 for an empty solution */
  readonly step: number;
  readonly source: LeafSource;
  /** the leaf that it corrects, −1: none */
  readonly corrects: number;
  /** undefined: not judged yet; NaN: could not be verified */
  outcome: number | undefined;
  /** why it could not be verified */
  reason?: string;
  /** tokens that were generated for it, of a correction; those that failed before it was found are not among them */
  readonly generated?: number;
}

export interface Tree {
  readonly problem: Problem;
  /** node 0 is the root */
  readonly steps: Step[];
  readonly leaves: Leaf[];
}

export interface NewLeaf {
  readonly source: LeafSource;
  readonly corrects?: number;
  readonly outcome?: number;
  readonly generated?: number;
}

const maxToken = 2 ** 31 - 1;

export function createTree(problem: Problem): Tree {
  checkTokens(problem.prompt, "createTree: expected prompt");
  return { problem, steps: [{ parent: -1, tokens: problem.prompt, children: [] }], leaves: [] };
}

/**
 * Adds a solution below node `from` and gives the index of its leaf. A step that `from`, or what is below it, already has as
 * a child is reused, so that a shared prefix is the same nodes.
 *
 * @param steps the tokens of each new step; none: the solution ends at `from`
 */
export function graft(tree: Tree, from: number, steps: readonly (readonly number[])[], leaf: NewLeaf): number {
  if (!Number.isInteger(from) || from < 0 || from >= tree.steps.length) {
    throw new RangeError(`graft: expected a node below ${tree.steps.length}, received ${from}`);
  }
  const corrects = leaf.corrects ?? -1;
  if (!Number.isInteger(corrects) || corrects < -1 || corrects >= tree.leaves.length) {
    throw new RangeError(
      `graft: expected corrects to be −1 or a leaf below ${tree.leaves.length}, received ${corrects}`,
    );
  }
  for (const tokens of steps) {
    if (tokens.length === 0)
      throw new RangeError("graft: expected steps of at least one token, received an empty step");
    checkTokens(tokens, "graft: expected a step");
  }
  let node = from;
  for (const tokens of steps) node = childOf(tree, node, tokens);
  const { source, outcome, generated } = leaf;
  return tree.leaves.push({ step: node, source, corrects, outcome, ...(generated !== undefined && { generated }) }) - 1;
}

function childOf(tree: Tree, parent: number, tokens: readonly number[]): number {
  const { children } = tree.steps[parent];
  const known = children.find((child) => sameTokens(tree.steps[child].tokens, tokens));
  if (known !== undefined) return known;
  const child = tree.steps.push({ parent, tokens: [...tokens], children: [] }) - 1;
  children.push(child);
  return child;
}

/** The nodes from the first step down to `node`, without the root. */
export function path(tree: Tree, node: number): number[] {
  const nodes: number[] = [];
  for (let at = node; at > 0; at = tree.steps[at].parent) nodes.push(at);
  return nodes.reverse();
}

/** The steps of a leaf's solution, each as its tokens. */
export function stepsOf(tree: Tree, leaf: number): (readonly number[])[] {
  return path(tree, tree.leaves[leaf].step).map((node) => tree.steps[node].tokens);
}

/** The tokens of a leaf's solution, without the prompt. */
export function completionOf(tree: Tree, leaf: number): number[] {
  return stepsOf(tree, leaf).flat();
}

/** Whether a leaf is a member of the group, as opposed to a correction of one. */
export function isRollout(leaf: Leaf): boolean {
  return leaf.source === "rollout" || leaf.source === "recorded";
}

export function sameTokens(a: readonly number[], b: readonly number[]): boolean {
  return a === b || (a.length === b.length && a.every((token, t) => token === b[t]));
}

function checkTokens(tokens: readonly number[], subject: string): void {
  const wrong = tokens.find((token) => !Number.isInteger(token) || token < 0 || token > maxToken);
  if (wrong !== undefined) {
    throw new RangeError(`${subject} of token ids, integers in 0 … 2³¹ − 1, received ${wrong}`);
  }
}
