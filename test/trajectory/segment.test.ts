import { describe, expect, it } from "vitest";
import {
  checkSteps,
  delimiter,
  fixedTokens,
  lines,
  mapBoundaries,
  tokenLines,
  type Range,
} from "../../src/trajectory/index.ts";

const ranges = (...bounds: number[]): Range[] => bounds.slice(1).map((end, i) => ({ start: bounds[i], end }));

describe("segmenters", () => {
  it("fixed steps leave a shorter last one", () => {
    expect(fixedTokens(2)([7, 7, 7, 7, 7])).toEqual(ranges(0, 2, 4, 5));
    expect(fixedTokens(2)([])).toEqual([]);
    expect(() => fixedTokens(0)).toThrow("fixedTokens: expected a count of at least 1, received 0");
  });

  it("a step ends after a token with a line feed; blank tokens that follow belong to it", () => {
    const texts = ["a", "b\n", "\n", " ", "c", ".\n\n", "\nd\n"];
    const stepsOf = (...tokens: readonly number[]) =>
      tokenLines((token) => texts[token])(tokens).map(({ start, end }) => tokens.slice(start, end));
    expect(stepsOf(0, 1, 4, 5, 0)).toEqual([[0, 1], [4, 5], [0]]);
    expect(stepsOf(0, 1, 2, 3, 2, 4)).toEqual([[0, 1, 2, 3, 2], [4]]);
    expect(stepsOf(2, 3, 0, 3, 4)).toEqual([
      [2, 3],
      [0, 3, 4],
    ]);
    expect(stepsOf(5, 6, 6)).toEqual([[5], [6], [6]]);
    expect(stepsOf(0, 0)).toEqual([[0, 0]]);
    expect(stepsOf()).toEqual([]);
  });

  it("a step ends after its delimiter, and the rest is a step", () => {
    const segment = delimiter([0, 9]);
    expect(segment([5, 0, 5, 5, 9, 5])).toEqual(ranges(0, 2, 5, 6));
    expect(segment([5, 0])).toEqual(ranges(0, 2));
    expect(segment([0])).toEqual(ranges(0, 1));
    expect(segment([5])).toEqual(ranges(0, 1));
  });

  it("a line keeps its line feed", () => {
    expect(lines("ab\n\nc")).toEqual(ranges(0, 3, 4, 5));
    expect(lines("")).toEqual([]);
  });
});

describe("mapBoundaries", () => {
  it("a token belongs to the range that holds its first character", () => {
    // "ab\ncd": the token "b\nc" begins in the first line.
    expect(mapBoundaries(lines("ab\ncd"), [0, 1, 4])).toEqual(ranges(0, 2, 3));
  });

  it("a range in which no token begins gives no step", () => {
    // One token spans all of the second line.
    expect(mapBoundaries(lines("a\nb\nc"), [0, 1, 4])).toEqual(ranges(0, 2, 3));
  });

  it("tokens without characters join the last step", () => {
    expect(mapBoundaries(lines("a\nb"), [0, 2, 3], 3)).toEqual(ranges(0, 1, 3));
    expect(mapBoundaries(lines("a\nb"), [0, 2], 3)).toEqual(ranges(0, 1, 3));
    expect(mapBoundaries([], [], 2)).toEqual(ranges(0, 2));
    expect(mapBoundaries([], [], 0)).toEqual([]);
  });

  it("refuses starts that descend and ranges with gaps", () => {
    expect(() => mapBoundaries(lines("ab"), [1, 0])).toThrow("expected ascending token starts, received 0 at token 1");
    expect(() => mapBoundaries([{ start: 1, end: 2 }], [0])).toThrow("a gap before [1, 2)");
    expect(() => mapBoundaries(lines("ab"), [0, 1], 1)).toThrow("expected at most 1 token starts, received 2");
  });
});

describe("checkSteps", () => {
  it("accepts steps that hold every token exactly once", () => {
    expect(() => checkSteps(ranges(0, 2, 5), 5)).not.toThrow();
    expect(() => checkSteps([], 0)).not.toThrow();
  });

  it.each([
    [
      [
        { start: 0, end: 2 },
        { start: 1, end: 3 },
      ],
      "an overlap at [1, 3): 2 comes next",
    ],
    [
      [
        { start: 0, end: 1 },
        { start: 2, end: 3 },
      ],
      "a gap before [2, 3): 1 comes next",
    ],
    [
      [
        { start: 0, end: 0 },
        { start: 0, end: 3 },
      ],
      "an empty range [0, 0)",
    ],
    [[{ start: 0, end: 2 }], "ranges that end at 2"],
    [[{ start: 0, end: 4 }], "ranges that end at 4"],
    [[{ start: 0, end: 1.5 }], "the range [0, 1.5)"],
  ])("refuses %j", (steps, received) => {
    expect(() => checkSteps(steps, 3)).toThrow(
      new RangeError(`segment: expected steps to hold each of 3 positions exactly once, received ${received}`),
    );
  });
});
