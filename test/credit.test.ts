import { describe, expect, it } from "vitest";
import { CreditTally, describeCreditReport } from "../src/credit-report.ts";
import { creditRecorded, type CreditConfig } from "../src/credit.ts";
import type { RecordedRollout } from "../src/recorded.ts";
import { characterTokenizer } from "../src/tokenizers/symbols.ts";

const problem = (...rollouts: readonly RecordedRollout[]) => ({ id: "p", prompt: "?", rollouts });
const texts = (config: CreditConfig, ...rollouts: readonly (readonly [string, number])[]) =>
  creditRecorded(problem(...rollouts.map(([text, reward]) => ({ text, reward }))), config).rollouts;

// 1 2 ⏎ 3 4 ⏎ 5 → 1        the outcomes 1 0 0 1 have mean ½ and, each against the other three, A = ± ⅔
// 1 2 ⏎ 3 9 ⏎ 5 → 0        differs from the first at the 9: one character pays
// 1 2 ⏎ 3       → 0        ends inside the second line: its last character pays
// 7 ⏎           → 1
const drawn = [
  ["12\n34\n5", 1],
  ["12\n39\n5", 0],
  ["12\n3", 0],
  ["7\n", 1],
] as const;
const A = 2 / 3;

describe("credit of recorded texts", () => {
  it("blames the characters that differ in the first differing line, and nothing else of a failed rollout", () => {
    const [right, wrong, short, other] = texts({ advantage: "rloo" }, ...drawn);
    expect(right).toMatchObject({
      steps: [{ start: 0, end: 3 }, { start: 3, end: 6 }, { start: 6, end: 7 }], // prettier-ignore
      firstError: -1,
      reference: -1,
      stepCredits: [expect.closeTo(A), expect.closeTo(A), expect.closeTo(A)],
      advantages: [{ start: 0, end: 7, advantage: expect.closeTo(A) as number }],
    });
    expect(wrong).toMatchObject({
      firstError: 1,
      reference: 0,
      stepCredits: [0, expect.closeTo(-A), 0],
      advantages: [{ start: 4, end: 5, advantage: expect.closeTo(-A) as number }],
    });
    expect(short).toMatchObject({
      steps: [{ start: 0, end: 3 }, { start: 3, end: 4 }], // prettier-ignore
      firstError: 1,
      reference: 0,
      advantages: [{ start: 3, end: 4, advantage: expect.closeTo(-A) as number }],
    });
    expect(other).toMatchObject({ firstError: -1, stepCredits: [expect.closeTo(A)] });
  });

  it("blames by all of the advantage, or by as much of it as is said", () => {
    const [, wrong] = texts({ advantage: "rloo", penaltyWeight: 0.25 }, ...drawn);
    expect(wrong.stepCredits).toEqual([0, expect.closeTo(-A / 4), 0]);
    expect(texts({ advantage: "rloo" }, ...drawn)[1].stepCredits).toEqual([0, expect.closeTo(-A), 0]);
  });

  it("does not blame with positiveOnly, and blames everything with outcome", () => {
    expect(texts({ rule: "positiveOnly" }, ...drawn)[1]).toMatchObject({ stepCredits: [0, 0, 0], advantages: [] });
    expect(texts({ rule: "outcome", advantage: "rloo" }, ...drawn)[1].advantages).toEqual([
      { start: 0, end: 7, advantage: expect.closeTo(-A) as number },
    ]);
  });

  it("gives each step its change of value with valueDifference", () => {
    // V: ½ before, ⅓ after 12⏎, 1 after 34⏎ and 0 after 39⏎
    expect(texts({ rule: "valueDifference" }, ...drawn)[0].stepCredits).toEqual(
      [1 / 3 - 1 / 2, 1 - 1 / 3, 0].map((value) => expect.closeTo(value) as number),
    );
    expect(texts({ rule: "valueDifference" }, ...drawn)[1].stepCredits[1]).toBeCloseTo(-1 / 3);
  });

  it("counts UTF-16 units and parts no character", () => {
    // 𝄞 and 𝄢 share their first unit.
    const [right, wrong] = texts({}, ["𝄞𝄞\nx", 1], ["𝄞𝄢\nx", 0]);
    expect(right.steps).toEqual([{ start: 0, end: 5 }, { start: 5, end: 6 }]); // prettier-ignore
    expect(wrong.advantages).toMatchObject([{ start: 2, end: 4 }]);
  });

  it("has a reference and no first error for a rollout that only ended too early", () => {
    expect(texts({}, ["1\n2\n", 1], ["1\n", 0])[1]).toMatchObject({
      firstError: -1,
      reference: 0,
      stepCredits: [0],
      advantages: [],
    });
  });

  it("gives exactly nothing to a group that is all right, all wrong or alone", () => {
    for (const group of [[1, 1, 1], [0, 0], [1], [0]]) {
      const found = texts({}, ...group.map((reward, g) => [`${g}`, reward] as const));
      expect(found.flatMap(({ stepCredits }) => stepCredits)).toEqual(group.map(() => 0));
      expect(found.map(({ advantages }) => advantages)).toEqual(group.map(() => []));
    }
  });

  it("takes a reward above the threshold for a success", () => {
    expect(texts({ threshold: 0.8 }, ["a", 0.9], ["b", 0.7])[1].reference).toBe(0);
    expect(texts({}, ["a", 0.9], ["b", 0.7])[1].reference).toBe(-1);
  });

  it("leaves rollouts without a reward or without text out, and keeps the others' indices", () => {
    const rollouts = creditRecorded(
      problem(
        { text: "12" },
        { text: "", reward: 0 },
        { text: "3", reward: 1e999 },
        { text: "1x", reward: 0 },
        { text: "12", reward: 1 },
      ),
      { advantage: "rloo" },
    ).rollouts;
    expect(rollouts.map(({ unverified }) => unverified)).toEqual([
      "no reward",
      "empty",
      "reward is not finite",
      undefined,
      undefined,
    ]);
    expect(rollouts[0]).toMatchObject({
      reward: null,
      firstError: -1,
      reference: -1,
      stepCredits: [0],
      advantages: [],
    });
    expect(rollouts[1]).toMatchObject({ steps: [], stepCredits: [], advantages: [] });
    expect(rollouts[3]).toMatchObject({ firstError: 0, reference: 4, stepCredits: [-1] });
  });

  it("gives a problem without a verified rollout no credit", () => {
    expect(creditRecorded(problem()).rollouts).toEqual([]);
    expect(creditRecorded(problem({ text: "a" })).rollouts[0].stepCredits).toEqual([0]);
  });

  it("keeps every field, and credits its own result alike", () => {
    const once = creditRecorded({ ...problem({ text: "a", model: "m" }, { text: "b", reward: 1 }), answer: 5 });
    expect(once).toMatchObject({
      id: "p",
      prompt: "?",
      answer: 5,
      unit: "utf16",
      corrections: [],
      rollouts: [{ model: "m" }, {}],
    });
    expect(creditRecorded(once)).toEqual(once);
  });
});

describe("credit of recorded tokens", () => {
  const group = problem({ tokens: [5, 6, 0, 7, 8], reward: 1 }, { tokens: [5, 6, 0, 9, 8, 1], reward: 0 });

  it("gives one advantage per token", () => {
    const [right, wrong] = creditRecorded(group, {
      steps: { kind: "delimiter", tokenIds: [0] },
      advantage: "rloo",
    }).rollouts;
    expect(right).toMatchObject({ steps: [{ start: 0, end: 3 }, { start: 3, end: 5 }], advantages: [1, 1, 1, 1, 1] }); // prettier-ignore
    expect(wrong).toMatchObject({ firstError: 1, stepCredits: [0, -1], advantages: [0, 0, 0, -1, 0, -1] });
  });

  it("takes every token for a step where nothing else is asked", () => {
    const wrong = creditRecorded(group, { advantage: "rloo" }).rollouts[1];
    expect(wrong).toMatchObject({ firstError: 3, stepCredits: [0, 0, 0, -1, 0, 0], advantages: [0, 0, 0, -1, 0, 0] });
    expect(creditRecorded(group, { steps: { kind: "tokens", count: 4 } }).rollouts[1].firstError).toBe(0);
  });

  it("takes lines for steps also of rollouts without a text where there is a tokenizer", () => {
    const tokenizer = characterTokenizer("ab\n");
    const [whole] = creditRecorded(problem({ tokens: [0, 2, 1], reward: 1 }), { tokenizer }).rollouts;
    expect(whole.steps).toEqual([{ start: 0, end: 2 }, { start: 2, end: 3 }]); // prettier-ignore
    expect(() => creditRecorded(problem({ tokens: [9], reward: 1 }), { tokenizer })).toThrow(
      "rollouts[0].tokens: expected ids in 0 … 2, received 9 at index 0",
    );
  });

  it("refuses a step rule for which it lacks the text or the tokens", () => {
    expect(() => creditRecorded(group, { steps: { kind: "newline" } })).toThrow(
      "rollouts[0].text: lines are steps of a text",
    );
    expect(() => creditRecorded(problem({ tokens: [1] }, { text: "a" }))).toThrow(
      "rollouts[1].tokens: steps are counted in tokens",
    );
  });
});

describe("the credit report", () => {
  it("counts rollouts, groups, references and first errors", () => {
    const tally = new CreditTally();
    const add = (...rollouts: readonly (readonly [string, number])[]) =>
      tally.add(creditRecorded(problem(...rollouts.map(([text, reward]) => ({ text, reward })))));
    add(...drawn);
    add(["1\n2\n", 1], ["1\n", 0], ["9", 0]);
    add(["1", 1]);
    add(["1", 0], ["2", 0]);
    tally.add(creditRecorded(problem({ text: "a" }, { text: "", reward: 1 })));
    tally.skip(9, "malformed");
    const report = tally.report();
    expect(report).toEqual({
      problems: 5,
      rollouts: 12,
      succeeded: 4,
      failed: 6,
      unverified: 2,
      unverifiedBecause: { "no reward": 1, empty: 1 },
      withReference: 4,
      withReferenceShare: 4 / 6,
      endedEarly: 1,
      groups: { allRight: 1, allWrong: 1, mixed: 2, empty: 1 },
      firstErrors: [
        { step: 0, count: 1, share: 1 / 3 },
        { step: 1, count: 2, share: 2 / 3 },
      ],
      firstErrorAtFirstStep: 1 / 3,
      failedPositions: 7 + 4 + 2 + 1 + 1 + 1,
      blamedPositions: 3,
      skippedLines: 1,
      skipped: [{ line: 9, reason: "malformed" }],
    });
    expect(describeCreditReport(report).join("\n")).toMatchInlineSnapshot(`
      "problems      5
      rollouts      12: 4 succeeded, 6 failed, 2 unverified (no reward: 1, empty: 1)
      groups        2 mixed, 1 all right, 1 all wrong, 1 without a verified rollout
      references    for 4 of 6 failed rollouts (66.7 %), 1 of them only ended too early
      first errors  by step: 0: 33.3 %, 1: 66.7 %
      blamed        18.8 % of what the failed rollouts wrote
      skipped lines 1
        line 9: malformed"
    `);
  });

  it("keeps a hundred skipped lines and counts them all", () => {
    const tally = new CreditTally();
    for (let line = 1; line <= 250; line++) tally.skip(line, "empty");
    expect(tally.report()).toMatchObject({
      skippedLines: 250,
      problems: 0,
      withReferenceShare: null,
      firstErrorAtFirstStep: null,
    });
    expect(tally.report().skipped).toHaveLength(100);
    expect(describeCreditReport(tally.report()).at(-1)).toBe("  and 240 more");
  });
});
