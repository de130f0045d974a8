import { describe, expect, it } from "vitest";
import { creditedTokens, minibatches, pack, packSequences, partsOf, type Batch } from "../src/batch.ts";
import {
  completionOf,
  createTree,
  graft,
  grpo,
  sumCredits,
  supervise,
  type SuperviseConfig,
  type Tree,
} from "../src/trajectory/index.ts";
import { draw } from "./support/draw.ts";
import { random } from "./support/random.ts";
import { randomTree } from "./support/trees.ts";

const contrast: SuperviseConfig = {
  rule: "contrast",
  advantage: (outcomes) => outcomes.map((outcome) => outcome - 0.5),
};
const grouped: SuperviseConfig = { rule: "contrast", advantage: (outcomes) => grpo({ outcomes }) };
const lists = (batch: Batch): Record<string, number[]> =>
  Object.fromEntries(Object.entries(batch).map(([name, array]) => [name, [...(array as Int32Array)]]));

const branching = (): Tree =>
  draw(`
    1 2
      3 4
        5 6 → 1
        5 → 0
      7 → 0
  `);

describe("pack", () => {
  it("lays a tree flat, depth first, each position with the targets that it predicts", () => {
    const tree = branching();
    expect(lists(pack([tree], [supervise(tree, contrast)]))).toEqual({
      //                  0  1  2  3  4  5  6  7
      tokens: /*       */ [1, 2, 3, 4, 5, 6, 5, 7],
      depth: /*        */ [0, 1, 2, 3, 4, 5, 4, 2],
      subtreeEnd: /*   */ [8, 8, 7, 7, 6, 6, 7, 8],
      targetOffsets: [0, 0, 2, 3, 5, 6, 6, 6, 6],
      // The prompt predicts 3 and 7, then 3 → 4, 4 → 5 and 5, 5 → 6.
      targets: [3, 7, 4, 5, 5, 6],
      stepOf: [0, 3, 0, 1, 2, 1],
      // 5 6 is right and both of its tokens count; the other 5 ended too early and pays; so does 7.
      stepCredits: [0.5, 0, 0.5, 0, 0, -0.5, 0, -0.5],
      contributions: [1, 1, 1, 1], // the other 5 shares 3 4 and says nothing about it
      weights: [1, 1, 1, 1, 1, 1].map((weight) => Math.fround(weight / 6)),
    });
  });

  it("lays several trees one after the other, with credit rows of their own", () => {
    const tree = branching();
    const supervision = supervise(tree, contrast);
    const one = lists(pack([tree], [supervision]));
    const two = lists(pack([tree, tree], [supervision, supervision]));
    expect(two.tokens).toEqual([...one.tokens, ...one.tokens]);
    expect(two.depth).toEqual([...one.depth, ...one.depth]);
    expect(two.subtreeEnd).toEqual([...one.subtreeEnd, ...one.subtreeEnd.map((end) => end + 8)]);
    expect(two.stepOf).toEqual([...one.stepOf, ...one.stepOf.map((row) => row + 4)]);
    expect(two.stepCredits).toEqual([...one.stepCredits, ...one.stepCredits]);
    expect(two.weights).toEqual([...one.weights, ...one.weights].map((weight) => Math.fround(weight / 2)));
  });

  it("counts a token once per solution that gave it credit, and leaves those without credit out of the loss", () => {
    const tree = draw(`
      1
        2
          3 4 → 1
          3 5 → 0
        2 6 → 1
    `);
    // Credit: 2 once, 3 4 once each, 2 6 once each, and of 3 5 the 5 alone.
    const { stepOf, targets, weights } = pack([tree], [supervise(tree, contrast)]);
    expect([...targets]).toEqual([2, 2, 3, 3, 4, 5, 6]);
    expect([...stepOf].map((row) => row >= 0)).toEqual([true, true, true, false, true, true, true]);
    expect([...weights]).toEqual([1, 1, 1, 0, 1, 1, 1].map((weight) => Math.fround(weight / 6)));
    const shared = draw(`
      1
        2
          3 → 1
          4 → 1
          5 → 0
    `);
    // 2 has credit from two solutions; with 3, 4 and 5 that makes five.
    expect([...pack([shared], [supervise(shared, contrast)]).weights]).toEqual(
      [1, 1, 1, 1].map((w) => Math.fround(w / 5)),
    );
  });

  it("divides by all targets or by a constant, as asked", () => {
    const tree = branching();
    const supervisions = [supervise(tree, { ...contrast, rule: "positiveOnly" })];
    expect(new Set(pack([tree], supervisions, { normaliser: "tokens" }).weights)).toEqual(
      new Set([Math.fround(1 / 6)]),
    );
    expect(new Set(pack([tree], supervisions, { normaliser: 8 }).weights)).toEqual(new Set([0.125]));
    expect(() => pack([tree], supervisions, { normaliser: 0 })).toThrow(
      "pack: expected a normaliser above 0, received 0",
    );
  });

  it("no credit is no weight, and every array is there", () => {
    const tree = branching();
    const batch = lists(pack([tree]));
    expect(batch.stepOf).toEqual([-1, -1, -1, -1, -1, -1]);
    expect(batch.weights).toEqual([0, 0, 0, 0, 0, 0]);
    expect(batch.stepCredits).toEqual([]);
    const pruned = lists(
      pack(
        [tree],
        [
          sumCredits(
            tree,
            tree.leaves.map((_, l) => new Float64Array(completionOf(tree, l).length)),
          ),
        ],
        { prune: true },
      ),
    );
    expect(pruned.tokens).toEqual([]);
    expect(pruned.targetOffsets).toEqual([0]);
  });

  it("a solution of one token, and an empty one, are trajectories", () => {
    const tree = draw(`
      1 → 0
        2 → 1
    `);
    const batch = lists(pack([tree], [supervise(tree, contrast)]));
    expect([batch.tokens, batch.targets, batch.targetOffsets, batch.weights]).toEqual([[1, 2], [2], [0, 1, 1], [1]]);
    const empty = draw("1 → 0");
    expect(lists(pack([empty], [supervise(empty, contrast)])).targetOffsets).toEqual([0, 0]);
  });

  it("identical rollouts are packed once, with the credit of all", () => {
    const tree = draw(`
      1
        2 3 → 1, 1
        4 → 0
    `);
    const batch = lists(pack([tree], [supervise(tree, contrast)]));
    expect(batch.tokens).toEqual([1, 2, 3, 4]);
    expect(batch.stepCredits).toEqual([1, 0, 0, -0.5]);
    expect(batch.weights).toEqual([1, 1, 1].map((weight) => Math.fround(weight / 5)));
  });

  it("a tree without branches is an ordinary sequence", () => {
    const tree = draw(`
      1 2
        3 4
          5 → 1
    `);
    expect(pack([tree], undefined, { normaliser: "tokens" })).toEqual(packSequences([[1, 2, 3, 4, 5]], { from: [2] }));
  });

  it("says what was wrong", () => {
    const tree = branching();
    expect(() => pack([])).toThrow("pack: expected trees [P], at least one, received none");
    expect(() => pack([draw("1 2")])).toThrow("pack: expected a tree with leaves, received none for drawn");
    const promptless = createTree({ id: "p", prompt: [] });
    graft(promptless, 0, [[1]], { source: "rollout" });
    expect(() => pack([promptless])).toThrow(
      "pack: expected a prompt of at least one token, received an empty one for p",
    );
    expect(() => pack([tree], [])).toThrow("pack: expected supervisions [P] of length 1, received 0");
    const other = draw("1 2\n  3 → 1");
    expect(() => pack([tree], [supervise(other, contrast)])).toThrow("a row for every token of drawn");
  });
});

describe("pruning", () => {
  it("keeps the ancestors of credit, and no position that is not one", () => {
    const tree = draw(`
      1 2
        3 4
          5 6 → 1
          5 7 8
            9 → 0
        7 → ?
    `);
    const batch = lists(pack([tree], [supervise(tree, { ...contrast, rule: "positiveOnly" })], { prune: true }));
    expect(batch.tokens).toEqual([1, 2, 3, 4, 5]);
    expect(batch.targets).toEqual([3, 4, 5, 6]);
    expect(batch.subtreeEnd).toEqual([5, 5, 5, 5, 5]);
    const penalised = lists(pack([tree], [supervise(tree, contrast)], { prune: true }));
    // Of 5 7 8 the tokens 7 and 8 pay: the positions of 5 and 7 are kept, and the first 5 as a target is not.
    expect(penalised.tokens).toEqual([1, 2, 3, 4, 5, 5, 7]);
    expect(penalised.targets).toEqual([3, 4, 5, 6, 7, 8]);
    expect(penalised.targetOffsets).toEqual([0, 0, 1, 2, 3, 4, 5, 6]);
  });
});

describe("packSequences", () => {
  it("supervises each sequence from its first target on, all targets alike", () => {
    expect(lists(packSequences([[1, 2, 3], [4], [5, 6, 7]], { from: [1, 1, 2] }))).toEqual({
      tokens: [1, 2, 3, 4, 5, 6, 7],
      depth: [0, 1, 2, 0, 0, 1, 2],
      subtreeEnd: [3, 3, 3, 4, 7, 7, 7],
      targetOffsets: [0, 1, 2, 2, 2, 2, 3, 3],
      targets: [2, 3, 7],
      stepOf: [-1, -1, -1],
      stepCredits: [],
      contributions: [],
      weights: [1, 1, 1].map((weight) => Math.fround(weight / 3)),
    });
    expect([...packSequences([[1, 2, 3]], { weight: 0.25 }).weights]).toEqual([0.25, 0.25]);
  });

  it("says what was wrong", () => {
    expect(() => packSequences([])).toThrow("packSequences: expected sequences, at least one, received none");
    expect(() => packSequences([[1], []])).toThrow("packSequences: expected tokens, received none in sequence 1");
    expect(() => packSequences([[1, 2]], { from: [0] })).toThrow("expected from in 1 … 2 for sequence 0, received 0");
    expect(() => packSequences([[1, 2]], { from: [] })).toThrow("expected from of length 1, received 0");
  });
});

describe("minibatches", () => {
  const trees = (): Tree[] => {
    const next = random(12);
    return Array.from({ length: 40 }, () => randomTree(next));
  };

  it("deals every tree with credit once, in shares of about the size asked for", () => {
    const all = trees();
    const supervisions = all.map((tree) => supervise(tree, grouped));
    const dealt = minibatches(all, supervisions, 16, random(13));
    const flat = dealt.flatMap((batch) => batch.trees);
    const credited = all.filter((_, p) => supervisions[p].creditedLeaves > 0);
    expect(credited.length).toBeLessThan(all.length);
    expect(new Set(flat)).toEqual(new Set(credited));
    expect(flat).toHaveLength(credited.length);
    const rows = dealt.map((batch) => batch.supervisions.reduce((sum, { creditedLeaves }) => sum + creditedLeaves, 0));
    const total = rows.reduce((sum, count) => sum + count, 0);
    expect(dealt).toHaveLength(Math.round(total / 16));
    rows.forEach((count) => expect(Math.abs(count - total / dealt.length)).toBeLessThan(8));
    dealt.forEach((batch) =>
      batch.trees.forEach((tree, i) => expect(batch.supervisions[i]).toBe(supervisions[all.indexOf(tree)])),
    );
  });

  it("the same seed deals the same, another one otherwise", () => {
    const all = trees();
    const supervisions = all.map((tree) => supervise(tree, grouped));
    const deal = (seed: number): number[][] =>
      minibatches(all, supervisions, 16, random(seed)).map((batch) => batch.trees.map((tree) => all.indexOf(tree)));
    expect(deal(1)).toEqual(deal(1));
    expect(deal(1)).not.toEqual(deal(2));
  });

  it("no credit gives no minibatches", () => {
    const tree = draw("1\n  2 → 1");
    expect(
      minibatches([tree], [supervise(tree, { ...grouped, advantage: (o) => o.map(() => 0) })], 8, random(1)),
    ).toEqual([]);
    expect(() => minibatches([tree], [], 8, random(1))).toThrow("minibatches: expected supervisions [P] of length 1");
  });
});

describe("the parts of a minibatch", () => {
  const next = random(3);
  const trees = Array.from({ length: 9 }, () => randomTree(next));
  const supervisions = trees.map((tree) =>
    supervise(tree, { rule: "outcome", advantage: (o) => grpo({ outcomes: o }) }),
  );
  const tokensOf = (tree: Tree) =>
    tree.problem.prompt.length + tree.steps.slice(1).flatMap(({ tokens }) => tokens).length;

  it.each([1, 20, 50, Infinity])("hold its trees in order, at most %d tokens or a single tree", (positions) => {
    const parts = partsOf({ trees, supervisions }, positions);
    expect(parts.flatMap((part) => part.trees)).toEqual(trees);
    expect(parts.flatMap((part) => part.supervisions)).toEqual(supervisions);
    for (const part of parts) {
      const tokens = part.trees.reduce((sum, tree) => sum + tokensOf(tree), 0);
      expect(tokens <= positions || part.trees.length === 1).toBe(true);
    }
    if (positions === Infinity) expect(parts).toHaveLength(1);
    if (positions === 1) expect(parts).toHaveLength(9);
  });

  it("packed with the credited tokens of all have the weights of the whole", () => {
    const whole = pack(trees, supervisions);
    const parts = partsOf({ trees, supervisions }, 20).map((part) =>
      pack(part.trees, part.supervisions, { creditedTokens: creditedTokens(supervisions) }),
    );
    expect(parts.flatMap(({ weights }) => [...weights])).toEqual([...whole.weights]);
  });
});
