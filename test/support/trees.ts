/** Random groups for the laws: few tokens and short steps, so that prefixes are shared and siblings begin alike. */

import { createTree, graft, type LeafSource, type Tree } from "../../src/trajectory/index.ts";
import { pick } from "./random.ts";

export interface RandomTreeOptions {
  /** rollouts; default 1 … 6 */
  readonly rollouts?: number;
  /** outcomes to draw from; default 0, 0, 1, NaN */
  readonly outcomes?: readonly number[];
}

export function randomTree(next: () => number, options: RandomTreeOptions = {}): Tree {
  const { rollouts = 1 + pick(next, 6), outcomes = [0, 0, 1, Number.NaN] } = options;
  const tree = createTree({ id: "random", prompt: randomTokens(next, 1 + pick(next, 3)) });
  for (let leaf = 0; leaf < rollouts; leaf++) {
    const source: LeafSource = next() < 0.8 ? "rollout" : "recorded";
    graft(tree, 0, randomSteps(next), { source, outcome: outcomes[pick(next, outcomes.length)] });
  }
  for (let corrects = 0; corrects < rollouts; corrects++) {
    const outcome = tree.leaves[corrects].outcome;
    if (outcome === undefined || !(outcome <= 0.5) || next() < 0.5) continue;
    graft(tree, 0, randomSteps(next), { source: next() < 0.5 ? "repair" : "search", corrects, outcome: 1 });
  }
  return tree;
}

function randomSteps(next: () => number): number[][] {
  return Array.from({ length: pick(next, 5) }, () => randomTokens(next, 1 + pick(next, 2)));
}

function randomTokens(next: () => number, length: number): number[] {
  return Array.from({ length }, () => 1 + pick(next, 2));
}
