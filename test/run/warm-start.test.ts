import { describe, expect, it } from "vitest";
import { Random } from "../../src/random.ts";
import { repairExamples, type RepairLessons } from "../../src/run/warm-start.ts";

/** Attempts are one token, drawn from 1 … 4, at a problem whose answer is 1; 4 ends with no answer. A repair is asked for by 9. */
const lessons: RepairLessons = {
  problem: () => ({ id: "p", prompt: [0], answer: 1 }),
  demonstrate: (_, random) => [1 + Math.floor(random() * 4)],
  passes: ({ answer }, [token]) => token === answer,
  hindsight: (problem, [token]) => (token === 4 ? null : { ...problem, answer: token }),
  blank: [],
  repair: { prompt: ({ prompt, answer }, failed) => [...prompt, ...failed, 9, Number(answer)] },
};
const pairs = (repairData: "verified" | "hindsight" | "none", blanked = 0) =>
  repairExamples(lessons, { repairData, repairs: 200, blanked }, new Random(1));

describe("repair pairs", () => {
  it("that are verified show a failure and teach a success, whichever came first", () => {
    const found = pairs("verified");
    expect(found).toHaveLength(200);
    for (const { tokens, from } of found) {
      expect(tokens).toEqual([0, tokens[1], 9, 1, 1]);
      expect([2, 3, 4]).toContain(tokens[1]);
      expect(from).toBe(4);
    }
  });

  it("by hindsight teach any attempt as right for the answer that it ends with, beside one that ends otherwise", () => {
    const found = pairs("hindsight");
    expect(found).toHaveLength(200);
    for (const { tokens } of found) {
      const [, shown, , hint, repaired] = tokens;
      expect(hint).toBe(repaired);
      expect(shown).not.toBe(repaired);
    }
    expect(new Set(found.map(({ tokens }) => tokens[4]))).toEqual(new Set([1, 2, 3]));
    expect(new Set(found.map(({ tokens }) => tokens[1]))).toEqual(new Set([1, 2, 3, 4]));
  });

  it("are none where repairs are not taught", () => {
    expect(pairs("none")).toEqual([]);
  });

  it("show no attempt in the share that is blanked", () => {
    expect(pairs("hindsight", 1).every(({ tokens }) => tokens.length === 4)).toBe(true);
    const hidden = pairs("hindsight", 0.5).filter(({ tokens }) => tokens.length === 4).length;
    expect(hidden).toBeGreaterThan(70);
    expect(hidden).toBeLessThan(130);
  });
});
