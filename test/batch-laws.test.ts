import { describe, expect, it } from "vitest";
import { pack, unpack, type Batch, type TokenTree } from "../src/batch.ts";
import {
  completionOf,
  createTree,
  graft,
  grpo,
  leafCredits,
  sumCredits,
  supervise,
  type SuperviseConfig,
  type Tree,
} from "../src/trajectory/index.ts";
import { random } from "./support/random.ts";
import { randomTree } from "./support/trees.ts";

const grouped: SuperviseConfig = { rule: "contrast", advantage: (outcomes) => grpo({ outcomes }) };

/** Chains of steps without branches joined, as `unpack` gives them. */
function joined(tree: Tree, node = 0): TokenTree {
  let { tokens, children } = tree.steps[node];
  while (children.length === 1) {
    const only = tree.steps[children[0]];
    tokens = [...tokens, ...only.tokens];
    children = only.children;
  }
  return { tokens, children: children.map((child) => joined(tree, child)) };
}

/** What each target is, with all that it is predicted from. */
function described(batch: Batch): { context: string; target: number; row: number; credit: number[]; weight: number }[] {
  return [...batch.tokens].flatMap((_, t) => {
    const context = [...batch.tokens].flatMap((token, j) => (j <= t && t < batch.subtreeEnd[j] ? [token] : []));
    expect(context.length).toBe(batch.depth[t] + 1);
    const owned = [...batch.targets.keys()].slice(batch.targetOffsets[t], batch.targetOffsets[t + 1]);
    return owned.map((n) => ({
      context: context.join(" "),
      target: batch.targets[n],
      row: batch.stepOf[n],
      credit: [...batch.stepCredits.subarray(2 * batch.stepOf[n], 2 * batch.stepOf[n] + 2)],
      weight: batch.weights[n],
    }));
  });
}

/** Σ weight · credit, per context and target, both signs apart. */
function mass(batch: Batch): Map<string, [number, number]> {
  const sums = new Map<string, [number, number]>();
  for (const { context, target, row, credit, weight } of described(batch)) {
    if (row < 0) continue;
    const key = `${context} → ${target}`;
    const [positive, negative] = sums.get(key) ?? [0, 0];
    sums.set(key, [positive + weight * credit[0], negative + weight * credit[1]]);
  }
  return sums;
}

describe("the laws of packing", () => {
  it("unpack gives back the token trees", () => {
    const next = random(8);
    for (let round = 0; round < 100; round++) {
      const trees = [randomTree(next), randomTree(next), randomTree(next)];
      const roundTrip = unpack(pack(trees));
      expect(roundTrip).toEqual(trees.map((tree) => joined(tree)));
    }
  });

  it("a packed tree carries the credit of its solutions unrolled one by one", () => {
    const next = random(9);
    for (let round = 0; round < 100; round++) {
      const tree = randomTree(next);
      const perLeaf = leafCredits(tree, grouped);
      const alone = tree.leaves.map((_, l) => {
        const single = createTree(tree.problem);
        const tokens = completionOf(tree, l);
        graft(single, 0, tokens.length === 0 ? [] : [tokens], { source: "rollout" });
        return single;
      });
      const unrolled = mass(
        pack(
          alone,
          alone.map((single, l) => sumCredits(single, [perLeaf[l]])),
        ),
      );
      const packed = mass(pack([tree], [supervise(tree, grouped)]));
      expect([...packed.keys()].toSorted()).toEqual([...unrolled.keys()].toSorted());
      for (const [key, [positive, negative]] of packed) {
        expect(positive).toBeCloseTo(unrolled.get(key)![0], 6);
        expect(negative).toBeCloseTo(unrolled.get(key)![1], 6);
      }
    }
  });

  it("the order of siblings changes nothing but order", () => {
    const next = random(10);
    const sorted = (tree: Tree): string[] =>
      described(pack([tree], [supervise(tree, grouped)]))
        .map(({ row, ...rest }) => JSON.stringify({ ...rest, credited: row >= 0 }))
        .toSorted();
    for (let round = 0; round < 50; round++) {
      const tree = randomTree(next);
      const mirrored = {
        ...tree,
        steps: tree.steps.map((step) => ({ ...step, children: step.children.toReversed() })),
      };
      expect(sorted(mirrored)).toEqual(sorted(tree));
    }
  });

  it("subtrees are nested, and depth counts the ancestors", () => {
    const next = random(11);
    for (let round = 0; round < 50; round++) {
      const { subtreeEnd, depth, targetOffsets, targets } = pack([randomTree(next), randomTree(next)]);
      const T = subtreeEnd.length;
      for (let j = 0; j < T; j++) {
        expect(subtreeEnd[j]).toBeGreaterThan(j);
        expect(subtreeEnd[j]).toBeLessThanOrEqual(T);
        for (let i = j + 1; i < subtreeEnd[j]; i++) expect(subtreeEnd[i]).toBeLessThanOrEqual(subtreeEnd[j]);
        const ancestors = subtreeEnd.subarray(0, j).filter((end) => end > j).length;
        expect(depth[j]).toBe(ancestors);
      }
      expect(targetOffsets).toHaveLength(T + 1);
      expect(targetOffsets[T]).toBe(targets.length);
    }
  });

  it("pruning changes neither the weights nor the credit nor the context of a target", () => {
    const next = random(7);
    for (let round = 0; round < 60; round++) {
      const trees = [randomTree(next), randomTree(next)];
      const supervisions = trees.map((tree) => supervise(tree, grouped));
      for (const normaliser of ["creditedTokens", "tokens", 10] as const) {
        const whole = pack(trees, supervisions, { normaliser });
        const pruned = pack(trees, supervisions, { normaliser, prune: true });
        expect(described(pruned)).toEqual(described(whole).filter(({ row }) => row >= 0));
        pruned.tokens.forEach((_, t) => {
          const end = pruned.subtreeEnd[t];
          expect(pruned.targetOffsets[end]).toBeGreaterThan(pruned.targetOffsets[t]);
        });
      }
    }
  });
});
