import { describe, expect, it } from "vitest";
import { estimateValues, valueCredits } from "../../src/baselines/monte-carlo.ts";
import { processCredits } from "../../src/baselines/process-scores.ts";
import { branch, treeCredits } from "../../src/baselines/tree-search.ts";
import { completionOf, fixedTokens, type SampleRequest, type Sampler } from "../../src/trajectory/index.ts";
import { draw, drawing } from "../support/draw.ts";

/** Continues every prefix, written as text, with what is listed for it, by turns; records what was asked. */
function scripted(answers: Record<string, number[][]>): Sampler & { readonly asked: SampleRequest[] } {
  const asked: SampleRequest[] = [];
  const turns = new Map<string, number>();
  return {
    asked,
    sample: (requests) => {
      asked.push(...requests);
      return Promise.resolve(
        requests.map(({ prefix }) => {
          const key = prefix.join(" ");
          const turn = turns.get(key) ?? 0;
          turns.set(key, turn + 1);
          const tokens = answers[key]?.[turn] ?? [0];
          return { tokens, logprobs: tokens.map(() => 0) };
        }),
      );
    },
  };
}

const endsWithNine = (_: unknown, completion: readonly number[]): number => (completion.at(-1) === 9 ? 1 : 0);
const credits = (values: readonly Float64Array[]): number[][] => values.map((each) => [...each]);

describe("values by continuations", () => {
  // Three rollouts of steps of one token: two share their first step.
  const tree = () =>
    draw(`
      1
        2
          3
            9 → 1
          4
            5 → 0
        6
          7
            8 → 0
    `);
  const answers = { "1 2": [[3, 9], [4, 4]], "1 2 3": [[9], [9]], "1 2 4": [[9], [5]], "1 6": [[0], [0]] }; // prettier-ignore

  it("are asked once per boundary, of what is left to write, and the root's is that of the group", async () => {
    const [grown, sampler] = [tree(), scripted(answers)];
    const config = { maxTokens: 3 };
    const found = await estimateValues([grown], sampler, endsWithNine, config, { samples: 2, every: 1 });
    const prefixes = sampler.asked.map(({ prefix, maxTokens }) => `${prefix.join(" ")}: ${maxTokens}`);
    expect(prefixes.filter((_, a) => a % 2 === 0)).toEqual(["1 2: 2", "1 2 3: 1", "1 2 4: 1", "1 6: 2", "1 6 7: 1"]);
    expect(found).toMatchObject({ probes: 10, tokens: 12 });
    expect(found.values[0][0]).toBeCloseTo(1 / 3, 15);
    expect([...found.values[0]].slice(1)).toEqual([0.5, 1, NaN, 0.5, NaN, 0, 0, NaN]);
    expect(grown.leaves).toHaveLength(3);
  });

  it("give every step the difference that it made", () => {
    const values = Float64Array.of(1 / 3, 0.5, 1, NaN, 0.5, NaN, 0, 0, NaN);
    const [first, second, third] = credits(valueCredits(tree(), values));
    [0.5 - 1 / 3, 0.5, 0].forEach((credit, i) => expect(first[i]).toBeCloseTo(credit, 15));
    [0.5 - 1 / 3, 0, -0.5].forEach((credit, i) => expect(second[i]).toBeCloseTo(credit, 15));
    [-1 / 3, 0, 0].forEach((credit, i) => expect(third[i]).toBeCloseTo(credit, 15));
  });

  it("are shared by the steps of a segment", async () => {
    const sampler = scripted(answers);
    const found = await estimateValues([tree()], sampler, endsWithNine, { maxTokens: 3 }, { samples: 2, every: 2 });
    expect(sampler.asked.map(({ prefix }) => prefix.join(" "))).toEqual(
      ["1 2 3", "1 2 4", "1 6 7"].flatMap((prefix) => [prefix, prefix]),
    );
    const [first] = credits(valueCredits(tree(), found.values[0]));
    [2 / 3, 2 / 3, 0].forEach((credit, i) => expect(first[i]).toBeCloseTo(credit, 15));
  });

  it("count no continuation that could not be verified, and credit no such rollout", async () => {
    const grown = draw(`
      1
        2
          3 → 1
          4 → ?
    `);
    const verifier = (_: unknown, completion: readonly number[]): number => {
      if (completion.at(-1) === 5) throw new Error("no verdict");
      return 1;
    };
    const sampler = scripted({ "1 2": [[5], [7]] });
    const found = await estimateValues([grown], sampler, verifier, { maxTokens: 2 }, { samples: 2, every: 1 });
    expect([...found.values[0]].slice(0, 2)).toEqual([1, 1]);
    expect(credits(valueCredits(grown, found.values[0]))).toEqual([[0, 0], [0, 0]]); // prettier-ignore
  });
});

describe("a group that is sampled as a tree", () => {
  it("branches before its most surprising steps", async () => {
    const tree = draw(`
      1
        2
          3 → 0
        4
          5 → 0
    `);
    const sampler = scripted({ "1 4": [[6]], "1": [[7, 8]] });
    const tokens = await branch([tree], [Float64Array.of(0, 0.3, 0.1, 0.2, 0.9)], sampler, {
      segment: fixedTokens(1),
      branches: 2,
      maxTokens: 2,
    });
    expect(sampler.asked).toEqual([
      { prefix: [1, 4], maxTokens: 1 },
      { prefix: [1], maxTokens: 2 },
    ]);
    expect(tokens).toBe(3);
    expect(tree.leaves.map((_, leaf) => completionOf(tree, leaf).join(" "))).toEqual(["2 3", "4 5", "4 6", "7 8"]);
    expect(drawing(tree)).toContain("6 → #2 …");
  });

  it("gives a step what its leaves are better than the others, as a whole and beyond its parent, over their root", () => {
    const tree = draw(`
      1
        2
          3 → 1
          4 → 0
        5 → 0
    `);
    // r̃: 1 − 0, 0 − 1/2, 0 − 1/2. V(2) = 1/4, V(3) = 1, V(4) = V(5) = −1/2.
    const given = credits(treeCredits(tree));
    expect(given).toEqual([[0.5 / Math.SQRT2, 1.75], [0.5 / Math.SQRT2, -1.25], [-1]]);
  });

  it("gives exactly nothing where all outcomes are equal", () => {
    const tree = draw(`
      1
        2 → 0.7
        3 → 0.7
        4 → 0.7
    `);
    expect(
      credits(treeCredits(tree))
        .flat()
        .every((credit) => credit === 0),
    ).toBe(true);
  });
});

describe("scores of steps", () => {
  const tree = () =>
    draw(`
      1
        2
          3 → 1
        4
          5 → 0
          6 → 1 repair of 1
    `);

  it("count for their step and the steps before it, normalised over the group's rollouts", () => {
    // Scores 1, 1 and 1, 0: mean 3/4, deviation 1/2.
    const given = credits(processCredits(tree(), (completion) => completion.map((token) => (token === 5 ? 0 : 1))));
    const right = 0.25 / (0.5 + 1e-4);
    [[2 * right, right], [-2 * right, -3 * right], [0, 0]].forEach((steps, leaf) => {
      steps.forEach((credit, step) => expect(given[leaf][step]).toBeCloseTo(credit, 12));
    }); // prettier-ignore
  });

  it("are one per step", () => {
    expect(() => processCredits(tree(), () => [1])).toThrow(
      "processCredits: expected 2 scores for leaf 0 of drawn, received 1",
    );
  });
});
