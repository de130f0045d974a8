import { describe, expect, it } from "vitest";
import { differingTokens, identify } from "../../src/trajectory/index.ts";
import { draw } from "../support/draw.ts";
import { random } from "../support/random.ts";

const none = { firstError: -1, reference: -1, source: undefined };

describe("identify", () => {
  it("the first error is the step that leaves the reference which agrees longest", () => {
    const tree = draw(`
      1
        2
          3
            4 → 1
            5 → 0
          6 → 1
        7 → 1
    `);
    expect(identify(tree)).toEqual([none, { firstError: 2, reference: 0, source: "rollout" }, none, none]);
  });

  it("of references that leave at the same step, the one with more equal tokens inside it", () => {
    const tree = draw(`
      1
        2 3 9 → 1
        2 3 4 5 → 1
        2 3 4 6 → 0
    `);
    expect(identify(tree)[2]).toEqual({ firstError: 0, reference: 1, source: "rollout" });
  });

  it("among equals a correction of this very leaf comes first, then the lowest index", () => {
    const tree = draw(`
      1
        2 → 0
        3 → 1
        4 → 0
        5 → 1 repair of 2
        6 → 1 search of 2
    `);
    expect(identify(tree).map((found) => found.reference)).toEqual([1, -1, 3, -1, -1]);
    expect(identify(tree)[2].source).toBe("repair");
  });

  it("a correction serves the other failed members of the group", () => {
    const tree = draw(`
      1
        2
          3 → 0
          4 → 0
          5 → 1 repair of 0
    `);
    expect(identify(tree)[1]).toEqual({ firstError: 1, reference: 2, source: "repair" });
  });

  it("a failed solution that stopped too early has a reference and no first error", () => {
    const tree = draw(`
      1
        2 → 0
          3 → 1
    `);
    expect(identify(tree)[0]).toEqual({ firstError: -1, reference: 1, source: "rollout" });
    const empty = draw(`
      1 → 0
        2 → 1
    `);
    expect(identify(empty)[0]).toEqual({ firstError: -1, reference: 1, source: "rollout" });
  });

  it("a failed solution that went on after a verified one is wrong in the step that it added", () => {
    const tree = draw(`
      1
        2 → 1
          3 → 0
    `);
    expect(identify(tree)[1]).toEqual({ firstError: 1, reference: 0, source: "rollout" });
  });

  it("equal tokens with another outcome are no reference", () => {
    const tree = draw(`
      1
        2 → 0, 1
    `);
    expect(identify(tree)).toEqual([none, none]);
  });

  it("unverified leaves neither need nor are a reference", () => {
    const tree = draw(`
      1
        2 → ?
        3 → …
        4 → 0
    `);
    expect(identify(tree)).toEqual([none, none, none]);
  });

  it("success is above the threshold that is passed in", () => {
    const tree = draw(`
      1
        2 → 0.3
        3 → 0.1
    `);
    expect(identify(tree)[1].reference).toBe(-1);
    expect(identify(tree, { threshold: 0.2 })[1].reference).toBe(0);
  });
});

describe("differingTokens", () => {
  it.each([
    [
      [1, 2, 3],
      [1, 9, 3],
      [false, true, false],
    ],
    [
      [1, 2, 3],
      [1, 2],
      [false, false, true],
    ],
    [
      [1, 2],
      [1, 2, 3],
      [false, true],
    ],
    [
      [1, 9],
      [1, 2, 3],
      [false, true],
    ],
    [
      [9, 2],
      [1, 2, 3],
      [true, false],
    ],
    [[1, 2], [], [true, true]],
    [
      [1, 2],
      [1, 2],
      [false, false],
    ],
    [[], [1], []],
  ])("%j against %j: %j", (step, reference, differs) => {
    expect(differingTokens(step, reference)).toEqual(differs);
  });

  it.each([
    ["a token put in", [1, 5, 2, 3], [1, 2, 3], [false, true, false, false]],
    ["a token left out: the one that came instead", [1, 3], [1, 2, 3], [false, true]],
    ["the first one left out", [2, 3], [1, 2, 3], [true, false]],
    ["a token changed", [1, 9, 3], [1, 2, 3], [false, true, false]],
    ["an early end", [1, 2], [1, 2, 3], [false, true]],
    ["tokens around", [7, 1, 8], [1], [true, false, true]],
    ["of equal ones the earliest", [1, 2, 1], [2, 1, 2], [false, false, true]],
    ["nothing in common", [4, 5], [1, 2, 3], [true, true]],
    ["no reference", [4, 5], [], [true, true]],
    ["no step", [], [1], []],
  ])("by the longest common subsequence: %s", (_name, step, reference, differs) => {
    expect(differingTokens(step, reference, "subsequence")).toEqual(differs);
  });

  it("keeps as many tokens by subsequence as a longest one has, whatever is compared", () => {
    const draws = random(5);
    /** By trying every subset of a. */
    const longest = (a: readonly number[], b: readonly number[]): number => {
      let most = 0;
      for (let subset = 0; subset < 2 ** a.length; subset++) {
        const kept = a.filter((_, i) => (subset >> i) & 1);
        let at = 0;
        for (const token of b) if (token === kept[at]) at++;
        if (at === kept.length) most = Math.max(most, at);
      }
      return most;
    };
    for (let round = 0; round < 200; round++) {
      const [a, b] = [7, 6].map((length) => Array.from({ length }, () => Math.floor(draws() * 3)));
      const kept = differingTokens(a, b, "subsequence").filter((differs) => !differs).length;
      expect(kept, `${a.join()} against ${b.join()}`).toBe(longest(a, b));
    }
  });
});
