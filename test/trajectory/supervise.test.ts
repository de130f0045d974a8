import { describe, expect, it } from "vitest";
import {
  grpo,
  leafCredits,
  sumCredits,
  supervise,
  type SuperviseConfig,
  type Tree,
} from "../../src/trajectory/index.ts";
import { draw } from "../support/draw.ts";
import { random } from "../support/random.ts";
import { randomTree } from "../support/trees.ts";
import { unrolledCredits } from "../support/unrolled.ts";

/** Outcome minus ½: advantages that can be read off the drawing. */
const half = (outcomes: Float64Array): Float64Array => outcomes.map((outcome) => outcome - 0.5);
const contrast: SuperviseConfig = { rule: "contrast", advantage: half };

const credits = (tree: Tree, config: SuperviseConfig): number[][] => leafCredits(tree, config).map((leaf) => [...leaf]);

describe("contrast", () => {
  it("a failed rollout pays where it differs inside its first differing step, and nowhere else", () => {
    const tree = draw(`
      1
        2 3
          4 5 6
            7 → 1
          4 9 6
            8 → 0
    `);
    expect(credits(tree, contrast)).toEqual([
      [0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
      [0, 0, 0, -0.5, 0, 0],
    ]);
  });

  it("a step shared with a success keeps the credit of the success, and differing tokens get rows of their own", () => {
    const tree = draw(`
      1
        2 3
          4 5 6 → 1
          4 9 6 → 0
    `);
    const { credits, rowOf, creditedLeaves } = supervise(tree, contrast);
    expect(credits).toEqual([
      { positive: 0.5, negative: 0, contributions: 1 },
      { positive: 0.5, negative: 0, contributions: 1 },
      { positive: 0, negative: -0.5, contributions: 1 },
    ]);
    expect(rowOf.map((rows) => [...rows])).toEqual([[-1], [0, 0], [1, 1, 1], [-1, 2, -1]]);
    expect(creditedLeaves).toBe(2);
  });

  it("where no rollout succeeded the penalty is the weight, and a correction earns it from the first differing step on", () => {
    const tree = draw(`
      1
        2
          3 4
            5 → 0
          3 6
            7 → 1 repair of 0
          8 → 0
    `);
    expect(credits(tree, { ...contrast, weight: 2 })).toEqual([
      [0, 0, -2, 0],
      [0, 2, 2, 2],
      [0, -2],
    ]);
  });

  it("a correction of a mixed group earns the weight, and the penalty is the weighted advantage", () => {
    const tree = draw(`
      1
        2
          3 → 0
          4 → 1 search of 0
        5 → 1
    `);
    expect(credits(tree, { ...contrast, weight: 3 })).toEqual([[0, -1.5], [0, 3], [0.5]]);
  });

  it("the weight of penalties scales what failures pay, not what corrections and successes earn", () => {
    const tree = draw(`
      1
        2
          3 → 0
          4 → 1 search of 0
        5 → 1
    `);
    expect(credits(tree, { ...contrast, penaltyWeight: 0.5 })).toEqual([[0, -0.25], [0, 1], [0.5]]);
    expect(credits(tree, { ...contrast, weight: 3, penaltyWeight: 0.5 })).toEqual([[0, -0.75], [0, 3], [0.5]]);
  });

  it("failures pay all of their advantage where nothing is said, and so does penaltyWeight 1", () => {
    const tree = draw(`
      1
        2
          3 → 0
          4 → 1
        5 → 0
    `);
    expect(credits(tree, contrast)).toEqual([[0, -0.5], [0.5, 0.5], [-0.5]]);
    expect(credits(tree, { ...contrast, penaltyWeight: 1 })).toEqual([[0, -0.5], [0.5, 0.5], [-0.5]]);
    const quarter = { ...contrast, penaltyWeight: 0.25 };
    expect(credits(tree, { ...quarter, rule: "negativeOnly" })).toEqual([[0, -0.125], [0, 0], [-0.125]]);
    expect(credits(tree, { ...quarter, rule: "outcome" })).toEqual([[-0.5, -0.5], [0.5, 0.5], [-0.5]]);
  });

  it("corrections take no part in the baseline", () => {
    const tree = draw(`
      1
        2 → 0
        3 → 1 repair of 0
        4 → 1 recorded
    `);
    const seen: number[][] = [];
    supervise(tree, { ...contrast, advantage: (outcomes) => (seen.push([...outcomes]), half(outcomes)) });
    expect(seen).toEqual([[0, 1]]);
  });

  it("a failed rollout without a reference gets nothing, or its outcome's advantage as an option", () => {
    const tree = draw(`
      1
        2 3 → 0
        4 → ?
    `);
    expect(credits(tree, contrast)).toEqual([[0, 0], [0]]);
    expect(credits(tree, { ...contrast, withoutReference: "outcome" })).toEqual([[-0.5, -0.5], [0]]);
  });

  it("a rollout that only stopped too early is not punished for its correct steps", () => {
    const tree = draw(`
      1
        2 → 0
          3 → 1 search of 0
    `);
    expect(credits(tree, contrast)).toEqual([[0], [0, 1]]);
  });

  it("a rollout that went on after a verified end pays on all of the step that it added", () => {
    const tree = draw(`
      1
        2 → 1
          3 4
            5 → 0
    `);
    expect(credits(tree, contrast)).toEqual([[0.5], [0, -0.5, -0.5, 0]]);
  });

  it("a correction that did not verify earns nothing", () => {
    const tree = draw(`
      1
        2 → 0
        3 → 0 repair of 0
    `);
    expect(supervise(tree, contrast).credits).toEqual([]);
  });

  it("identical rollouts sum", () => {
    const tree = draw(`
      1
        2 → 1, 1
        3 → 0, 0, 0
    `);
    expect(supervise(tree, contrast).credits).toEqual([
      { positive: 1, negative: 0, contributions: 2 },
      { positive: 0, negative: -1.5, contributions: 3 },
    ]);
  });
});

describe("what a failed rollout pays for", () => {
  const tree = () =>
    draw(`
      1
        2
          3 4
            5 → 1
          3 6
            7 → 0
    `);

  it.each([
    ["tokens", [0, 0, -0.5, 0]],
    ["step", [0, -0.5, -0.5, 0]],
    ["suffix", [0, -0.5, -0.5, -0.5]],
  ] as const)("%s", (penalty, expected) => {
    expect(credits(tree(), { ...contrast, penalty })).toEqual([[0.5, 0.5, 0.5, 0.5], expected]);
  });

  it("is nothing, however wide, where it only stopped too early", () => {
    const early = draw(`
      1
        2 → 0
          3 → 1
    `);
    expect(credits(early, { ...contrast, penalty: "suffix" })[0]).toEqual([0]);
  });

  it("can be told by the longest common subsequence of the two steps", () => {
    const shifted = draw(`
      1
        2 9 3 4 → 0
        2 3 4 5 → 1
    `);
    expect(credits(shifted, contrast)[0]).toEqual([0, -0.5, -0.5, -0.5]);
    expect(credits(shifted, { ...contrast, tokenDiff: "subsequence" })[0]).toEqual([0, -0.5, 0, 0]);
  });
});

describe("negativeOnly", () => {
  it("is contrast without what is earned", () => {
    const tree = draw(`
      1
        2
          3 → 1
          4 → 0
        5 → 0
          6 → 1 repair of 2
    `);
    const both = credits(tree, contrast);
    expect(credits(tree, { ...contrast, rule: "negativeOnly" })).toEqual(
      both.map((leaf) => leaf.map((credit) => Math.min(credit, 0))),
    );
    expect(both.flat().some((credit) => credit < 0)).toBe(true);
    expect(both.flat().some((credit) => credit > 0)).toBe(true);
  });
});

describe("positiveOnly", () => {
  it("is contrast without its penalties", () => {
    const tree = draw(`
      1
        2
          3 → 1
          4 → 0
          5 → 1 repair of 1
    `);
    expect(credits(tree, { ...contrast, rule: "positiveOnly" })).toEqual([
      [0.5, 0.5],
      [0, 0],
      [0, 1],
    ]);
  });
});

describe("outcome", () => {
  it("every rollout carries its advantage on all tokens; both signs are kept apart on a shared step", () => {
    const tree = draw(`
      1
        2
          3 → 1
          4 → 0
          5 → 1 repair of 1
        6 → ?
    `);
    const supervision = supervise(tree, { ...contrast, rule: "outcome" });
    expect(supervision.credits).toEqual([
      { positive: 0.5, negative: -0.5, contributions: 2 },
      { positive: 0.5, negative: 0, contributions: 1 },
      { positive: 0, negative: -0.5, contributions: 1 },
    ]);
    expect(supervision.rowOf.map((rows) => [...rows])).toEqual([[-1], [0], [1], [2], [-1], [-1]]);
  });
});

describe("valueDifference", () => {
  it("a step's credit is what it did to the mean outcome, once per rollout through it", () => {
    // V: root ½, node 2: ⅔, nodes 3 and 4: 1 and 0, node 5: 0.
    const tree = draw(`
      1
        2
          3 → 1, 1
          4 → 0
        5 → 0
        6 → 1 repair of 3
        7 → ?
    `);
    const found = credits(tree, { ...contrast, rule: "valueDifference" });
    const close = (values: number[]): unknown[] => values.map((value) => expect.closeTo(value, 14) as unknown);
    expect(found).toEqual([
      close([1 / 6, 1 / 3]),
      close([1 / 6, 1 / 3]),
      close([1 / 6, -2 / 3]),
      close([-1 / 2]),
      [0],
      [0],
    ]);
  });

  it("credits along a path sum to its outcome minus the group's mean", () => {
    const next = random(4);
    for (let round = 0; round < 50; round++) {
      const tree = randomTree(next, { outcomes: [0, 1, 0.25] });
      const rollouts = tree.leaves.filter((leaf) => leaf.source === "rollout" || leaf.source === "recorded");
      const mean = rollouts.reduce((sum, leaf) => sum + leaf.outcome!, 0) / rollouts.length;
      const ends = new Map<number, number[]>();
      rollouts.forEach((leaf) => ends.set(leaf.step, [...(ends.get(leaf.step) ?? []), leaf.outcome!]));
      leafCredits(tree, { ...contrast, rule: "valueDifference" }).forEach((leaf, l) => {
        const { step, source } = tree.leaves[l];
        // Only where all rollouts through the last node end there with one outcome is its value that outcome.
        if (source === "repair" || source === "search" || tree.steps[step].children.length > 0) return;
        const outcomes = ends.get(step) ?? [];
        let nodes = 0;
        let total = 0;
        for (let node = step; node > 0; node = tree.steps[node].parent, nodes++) {
          const after = leaf.length - tree.steps[node].tokens.length;
          total += leaf[after];
          leaf = leaf.subarray(0, after);
        }
        if (nodes === 0) return;
        expect(total).toBeCloseTo(outcomes.reduce((sum, o) => sum + o, 0) / outcomes.length - mean, 12);
      });
    }
  });
});

describe("supervise", () => {
  it.each(["outcome", "contrast", "positiveOnly", "valueDifference"] as const)(
    "equal outcomes give no credit rows: %s",
    (rule) => {
      for (const outcome of [0, 0.7, 0.95, 1]) {
        const tree = randomTree(random(5), { rollouts: 12, outcomes: [outcome] });
        const group = { ...tree, leaves: tree.leaves.slice(0, 12) };
        const { credits, rowOf } = supervise(group, { rule, advantage: (outcomes) => grpo({ outcomes }) });
        expect(credits).toEqual([]);
        expect(rowOf.every((rows) => rows.every((row) => row === -1))).toBe(true);
      }
    },
  );

  it.each(["outcome", "contrast", "positiveOnly", "valueDifference"] as const)(
    "equals the sum over its solutions unrolled one by one: %s",
    (rule) => {
      const next = random(6);
      for (let round = 0; round < 100; round++) {
        const tree = randomTree(next);
        const config: SuperviseConfig = {
          rule,
          advantage: (outcomes) => grpo({ outcomes }),
          weight: 0.75,
          ...(next() < 0.5 && { penaltyWeight: 2 * next() }),
          withoutReference: next() < 0.5 ? "zero" : "outcome",
        };
        const { credits, rowOf } = supervise(tree, config);
        const naive = unrolledCredits(tree, config);
        rowOf.forEach((rows, node) =>
          rows.forEach((row, t) => {
            const want = naive(node, t);
            const got = row < 0 ? { positive: 0, negative: 0, contributions: 0 } : credits[row];
            expect(got.contributions).toBe(want.contributions);
            expect(got.positive).toBeCloseTo(want.positive, 12);
            expect(got.negative).toBeCloseTo(want.negative, 12);
          }),
        );
        expect(new Set(rowOf.flatMap((rows) => [...rows])).size).toBe(credits.length + 1);
      }
    },
  );

  it("a group of one is credited as its estimator says", () => {
    const tree = draw(`
      1
        2 → 1
    `);
    const config = (singleton: "raw" | "zero"): SuperviseConfig => ({
      rule: "outcome",
      advantage: (outcomes) => grpo({ outcomes, singleton, eps: 0 }),
    });
    expect(supervise(tree, config("raw")).credits).toEqual([{ positive: 1, negative: 0, contributions: 1 }]);
    expect(supervise(tree, config("zero")).credits).toEqual([]);
  });

  it("an empty solution has no tokens to credit", () => {
    const tree = draw(`
      1 → 1
        2 → 0
    `);
    expect(credits(tree, { ...contrast, rule: "outcome" })).toEqual([[], [-0.5]]);
    expect(supervise(tree, contrast).creditedLeaves).toBe(1);
  });

  it("says what was wrong", () => {
    expect(() => supervise(draw("1"), contrast)).toThrow(
      "expected a group of at least one rollout, received none for drawn",
    );
    const open = draw(`
      1
        2 → …
    `);
    expect(() => supervise(open, contrast)).toThrow("leaf 0 of drawn has no outcome yet");
    const tree = draw(`
      1
        2 → 1
    `);
    expect(() => supervise(tree, { ...contrast, advantage: () => new Float64Array(2) })).toThrow(
      "supervise: expected advantages [G] of length 1, received a length of 2",
    );
    expect(() => supervise(tree, { ...contrast, advantage: () => Float64Array.of(Number.NaN) })).toThrow(
      "finite advantages",
    );
  });
});

describe("sumCredits", () => {
  it("takes credits from outside, one number per token", () => {
    const tree = draw(`
      1
        2
          3 → 1
          4 → 0
    `);
    const { credits, rowOf } = sumCredits(tree, [Float64Array.of(0.25, 0), Float64Array.of(0.5, -1)]);
    expect(credits).toEqual([
      { positive: 0.75, negative: 0, contributions: 2 },
      { positive: 0, negative: -1, contributions: 1 },
    ]);
    expect(rowOf.map((rows) => [...rows])).toEqual([[-1], [0], [-1], [1]]);
    expect(() => sumCredits(tree, [])).toThrow("sumCredits: expected credits of 2 leaves, received 0");
    expect(() => sumCredits(tree, [new Float64Array(2), new Float64Array(1)])).toThrow(RangeError);
    expect(() => sumCredits(tree, [new Float64Array(3), new Float64Array(2)])).toThrow("expected 2 credits for leaf 0");
  });
});
