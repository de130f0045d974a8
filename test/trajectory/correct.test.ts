import { describe, expect, it } from "vitest";
import {
  correct,
  critiqueSequence,
  fixedTokens,
  type CorrectConfig,
  type SampleRequest,
  type Sampler,
  type Tree,
  type Verifier,
} from "../../src/trajectory/index.ts";
import { boundaries } from "../../src/trajectory/search.ts";
import { dedent, draw, drawing } from "../support/draw.ts";

/** Right if it ends with 9. */
const endsWithNine: Verifier = (_, completion) => (completion.at(-1) === 9 ? 1 : 0);
const config: CorrectConfig = { maxTokens: 4, stop: [9], segment: fixedTokens(1) };
const failure = 100;

interface Scripted extends Sampler {
  readonly calls: (readonly SampleRequest[])[];
}

/** Continues a prefix, written as text, with the listed tokens; anything else with 0. */
function scripted(answers: Record<string, number[] | number[][]>): Scripted {
  const calls: (readonly SampleRequest[])[] = [];
  const asked = new Map<string, number>();
  const answer = (prefix: string): readonly number[] => {
    const known = answers[prefix];
    if (known === undefined) return [0];
    const turn = asked.get(prefix) ?? 0;
    asked.set(prefix, turn + 1);
    return Array.isArray(known[0]) ? (known as number[][])[turn] : (known as number[]);
  };
  return {
    calls,
    sample: (requests) => {
      calls.push(requests);
      return Promise.resolve(
        requests.map(({ prefix }) => {
          const tokens = answer(prefix.join(" "));
          return { tokens, logprobs: tokens.map(() => 0) };
        }),
      );
    },
  };
}

const prefixes = (sampler: Scripted): string[][] =>
  sampler.calls.map((call) => call.map(({ prefix }) => prefix.join(" ")));

/** The failed attempt between two marks. */
const repair = {
  prompt: ({ prompt }: { prompt: readonly number[] }, failed: readonly number[]) => [
    ...prompt,
    failure,
    ...failed,
    failure,
  ],
};

const twoGroups = (): [Tree, Tree] => [
  draw(`
    1
      3
        4 → 0
      5 → 0
  `),
  draw(`
    2
      3 → 1
      4 → 0
  `),
];

describe("correct by repair", () => {
  it("asks for all trees without a success at once and keeps what verifies", async () => {
    const trees = twoGroups();
    const sampler = scripted({ "1 100 3 4 100": [3, 9], "1 100 5 100": [6] });
    const report = await correct(trees, sampler, endsWithNine, { ...config, repair });
    expect(prefixes(sampler)).toEqual([["1 100 3 4 100", "1 100 5 100"]]);
    expect(sampler.calls[0][0]).toMatchObject({ maxTokens: 4, stop: [9] });
    expect(report).toEqual({
      repair: { tried: 2, verified: 1, accepted: 1, tokens: 3 },
      critique: { asked: 0, named: 0, verified: 0, tokens: 0 },
      search: { probes: 0, verified: 0, tokens: 0 },
    });
    expect(drawing(trees[0])).toBe(
      dedent(`
        1
          3
            4 → #0 0
            9 → #2 1 repair of 0
          5 → #1 0
      `),
    );
    expect(trees[1].leaves).toHaveLength(2);
  });

  it("of several that verify, the one that agrees longest is kept", async () => {
    const [tree] = twoGroups();
    const sampler = scripted({
      "1 100 3 4 100": [
        [6, 9],
        [3, 9],
        [3, 4, 9],
      ],
    });
    const report = await correct([tree], sampler, endsWithNine, {
      ...config,
      repair: { ...repair, perLeaf: 3, maxLeaves: 1 },
    });
    expect(report.repair).toEqual({ tried: 3, verified: 3, accepted: 3, tokens: 7 });
    expect(drawing(tree)).toBe(
      dedent(`
        1
          3
            4 → #0 0
              9 → #2 1 repair of 0
          5 → #1 0
      `),
    );
  });

  it("shows the successful sibling that agrees longest, where there is one, to whoever has no correction", async () => {
    const trees = [
      draw(`
        1
          3
            4 → 0
            5 → 1
          6 → 1
          7 → 0
      `),
      draw(`
        2
          3 → 0
      `),
    ];
    const shown: unknown[] = [];
    const asking = {
      prompt: (_: unknown, failed: readonly number[], sibling?: readonly number[] | null) => {
        shown.push([failed, sibling]);
        return [failure];
      },
      only: "leaves-without-correction" as const,
    };
    const sampler = scripted({ "100": [[3, 9], [3, 9], [3, 9]] }); // prettier-ignore
    const report = await correct(trees, sampler, endsWithNine, { ...config, repair: asking });
    // With 7 both agree as long; the first is shown.
    expect(shown).toEqual([[[3, 4], [3, 5]], [[7], [3, 5]], [[3], null]]); // prettier-ignore
    expect(report.repair.accepted).toBe(3);
    await correct(trees, sampler, endsWithNine, { ...config, repair: asking });
    expect(shown).toHaveLength(3);
  });

  it("what cannot be parsed, is too long or is not accepted is counted and forgotten", async () => {
    const tree = draw(`
      1
        3 → 0
        4 → 0
        5 → 0
        6 → 0
    `);
    const sampler = scripted({
      "1 100 3 100": [7, 9],
      "1 100 4 100": [2, 2, 2, 2, 9],
      "1 100 5 100": [5, 9],
      "1 100 6 100": [6, 9],
    });
    const candidates: unknown[] = [];
    const report = await correct([tree], sampler, endsWithNine, {
      ...config,
      repair: {
        ...repair,
        maxTokens: 6,
        parse: (_, __, completion) => (completion[0] === 7 ? null : completion),
        filter: {
          accept: (asked) => {
            candidates.push(...asked);
            return Promise.resolve(asked.map(({ repaired }) => repaired[0] === 6));
          },
        },
      },
    });
    expect(candidates).toEqual([
      { problem: tree.problem, failed: [5], repaired: [5, 9], changedFrom: 1 },
      { problem: tree.problem, failed: [6], repaired: [6, 9], changedFrom: 1 },
    ]);
    expect(report.repair).toEqual({ tried: 4, verified: 2, accepted: 1, tokens: 11 });
    expect(tree.leaves.slice(4)).toMatchObject([{ step: 5, source: "repair", corrects: 3, outcome: 1 }]);
  });

  it("groups without success are asked even where a correction serves as reference, each failure once", async () => {
    const tree = draw(`
      1
        3 → 0
        4 → 0
        5 → 1 repair of 0
    `);
    const sampler = scripted({});
    await correct([tree], sampler, endsWithNine, { ...config, repair });
    expect(sampler.calls).toEqual([]);
    await correct([tree], sampler, endsWithNine, { ...config, repair: { ...repair, only: "groups-without-success" } });
    expect(prefixes(sampler)).toEqual([["1 100 4 100"]]);
  });
});

describe("correct by critique", () => {
  const asking = {
    prompt: ({ prompt }: { prompt: readonly number[] }, steps: readonly (readonly number[])[]) => [
      ...prompt,
      failure,
      ...steps.flat(),
    ],
    parse: (written: readonly number[]) => written[0] - 1,
    maxTokens: 2,
  };

  it("continues before the step that is named, and keeps what verifies", async () => {
    const tree = draw(`
      1
        3
          4
            5 → 0
        6
          7 → 0
    `);
    // Step 2 of the first is named and repaired; of the second, step 1 in vain.
    const sampler = scripted({ "1 100 3 4 5": [2], "1 3": [8, 9], "1 100 6 7": [1], "1": [0] });
    const report = await correct([tree], sampler, endsWithNine, { ...config, critique: asking });
    expect(prefixes(sampler)).toEqual([
      ["1 100 3 4 5", "1 100 6 7"],
      ["1 3", "1"],
    ]);
    expect(report.critique).toEqual({ asked: 2, named: 2, verified: 1, tokens: 2 + 3 });
    expect(tree.leaves.slice(2)).toMatchObject([{ source: "critique", corrects: 0, outcome: 1 }]);
    expect(drawing(tree)).toContain("9 → #2 1 critique of 0");
  });

  it("asks of failures without a reference alone, and passes over steps that are not there", async () => {
    const mixed = draw(`
      1
        3 → 0
        9 → 1
    `);
    const tree = draw(`
      2
        3 → 0
        4 → 0
        5 → 0
    `);
    const sampler = scripted({ "2 100 3": [2], "2 100 4": [0], "2 100 5": [1] });
    const report = await correct([mixed, tree], sampler, endsWithNine, {
      ...config,
      critique: { ...asking, prompt: (problem, steps) => (steps[0][0] === 5 ? null : asking.prompt(problem, steps)) },
    });
    expect(prefixes(sampler)).toEqual([["2 100 3", "2 100 4"]]);
    expect(report.critique).toEqual({ asked: 2, named: 0, verified: 0, tokens: 2 });
  });

  it("is taught by the first step that differs from a verified solution", () => {
    const problem = { id: "p", prompt: [1] };
    const format = { ...asking, express: (step: number) => [step + 1] };
    const failed = [[3], [4], [5]];
    expect(critiqueSequence(format, problem, failed, [[3], [6]])).toEqual({
      tokens: [1, failure, 3, 4, 5, 2],
      from: 5,
    });
    expect(critiqueSequence(format, problem, failed, [[3]])).toMatchObject({ tokens: [1, failure, 3, 4, 5, 2] });
    // It only stopped too early; nothing says how a step is named; none is asked for.
    expect(critiqueSequence(format, problem, [[3]], [[3], [6]])).toBeNull();
    expect(critiqueSequence(asking, problem, failed, [[6]])).toBeNull();
    expect(critiqueSequence({ ...format, prompt: () => null }, problem, failed, [[6]])).toBeNull();
  });

  it("comes after repair and before search, for what is left", async () => {
    const tree = draw(`
      1
        3 → 0
    `);
    const sampler = scripted({ "1 100 3": [1], "1": [[9], [9]] });
    const search = { mode: "gallop" } as const;
    const report = await correct([tree], sampler, endsWithNine, { ...config, repair, critique: asking, search });
    expect(prefixes(sampler)).toEqual([["1 100 3 100"], ["1 100 3"], ["1"]]);
    expect([report.repair.verified, report.critique.verified, report.search.probes]).toEqual([0, 1, 0]);
  });
});

describe("correct by search", () => {
  const failed = (): Tree =>
    draw(`
      1
        2
          3
            4
              5 → 0
    `);

  it("gallops back from the end until a continuation verifies", async () => {
    const tree = failed();
    const sampler = scripted({ "1 2 3": [7, 9] });
    const report = await correct([tree], sampler, endsWithNine, { ...config, search: { mode: "gallop" } });
    expect(prefixes(sampler)).toEqual([["1 2 3 4"], ["1 2 3"]]);
    expect(sampler.calls.map(([request]) => request.maxTokens)).toEqual([1, 2]);
    expect(report.search).toEqual({ probes: 2, verified: 1, tokens: 3 });
    expect(drawing(tree)).toBe(
      dedent(`
        1
          2
            3
              4
                5 → #0 0
              7
                9 → #1 1 search of 0
      `),
    );
  });

  it("probes all trees of a round in one call, each probe as often as asked, and stops with the first reference", async () => {
    const trees = [failed(), ...twoGroups()];
    const sampler = scripted({ "1 3": [[8], [9]] });
    const report = await correct(trees, sampler, endsWithNine, {
      ...config,
      search: { mode: "gallop", samples: 2, maxProbes: 2 },
    });
    expect(prefixes(sampler)).toEqual([
      ["1 2 3 4", "1 2 3 4", "1 3", "1 3", "1", "1"],
      ["1 2 3", "1 2 3"],
    ]);
    expect(report.search).toEqual({ probes: 4, verified: 1, tokens: 8 });
    expect(trees[1].leaves.at(-1)).toMatchObject({ source: "search", corrects: 0, outcome: 1 });
  });

  it("comes after repair, for what repair left", async () => {
    const trees = [failed(), draw("1\n  3 → 0")];
    const sampler = scripted({ "1 100 2 3 4 5 100": [2, 9] });
    await correct(trees, sampler, endsWithNine, { ...config, repair, search: { mode: "bisect", maxProbes: 1 } });
    expect(prefixes(sampler)).toEqual([["1 100 2 3 4 5 100", "1 100 3 100"], ["1"]]);
  });

  it("asks nothing where the prefix has used up the tokens", async () => {
    const sampler = scripted({});
    const report = await correct([failed()], sampler, endsWithNine, {
      ...config,
      maxTokens: 3,
      search: { mode: "gallop", maxProbes: 1 },
    });
    expect(sampler.calls).toEqual([]);
    expect(report.search.probes).toBe(0);
  });

  it("boundaries end with a fresh solution", () => {
    expect(boundaries("gallop", 9)).toEqual([8, 7, 5, 1, 0]);
    expect(boundaries("bisect", 9)).toEqual([4, 2, 1, 0]);
    expect([0, 1].map((length) => boundaries("gallop", length))).toEqual([[0], [0]]);
    expect([0, 1].map((length) => boundaries("bisect", length))).toEqual([[0], [0]]);
  });
});

describe("correct", () => {
  it("wants verified leaves", async () => {
    await expect(correct([draw("1\n  2 → …")], scripted({}), endsWithNine, config)).rejects.toThrow(
      "correct: expected verified leaves, leaf 0 of drawn has no outcome yet",
    );
  });

  it("leaves unverified solutions alone", async () => {
    const sampler = scripted({});
    await correct([draw("1\n  2 → ?")], sampler, endsWithNine, { ...config, repair, search: { mode: "gallop" } });
    expect(sampler.calls).toEqual([]);
  });
});
