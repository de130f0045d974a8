import { describe, expect, it } from "vitest";
import { gpg, maxrl, opo, passAtK } from "../../src/advantages/index.ts";
import { grpo, rloo } from "../../src/trajectory/index.ts";

describe("grpo on a batch of groups", () => {
  it("may divide by the standard deviation of the whole batch", () => {
    // Outcomes 0, 2 | 4, 6: mean 3, squares 9 + 1 + 1 + 9, deviation √(20 / 3).
    const advantages = grpo({ outcomes: [0, 4, 2, 6], groups: ["a", "b", "a", "b"], std: "batch", eps: 0 });
    const expected = 1 / Math.sqrt(20 / 3);
    [-expected, -expected, expected, expected].forEach((a, l) => expect(advantages[l]).toBeCloseTo(a, 14));
  });

  it("leaves unverified outcomes out of that deviation too", () => {
    const whole = grpo({ outcomes: [0, Number.NaN, 4], std: "batch" });
    const rest = grpo({ outcomes: [0, 4], std: "batch" });
    expect([...whole]).toEqual([rest[0], 0, rest[1]]);
  });

  it("with one outcome in all has no deviation to divide by", () => {
    expect([...grpo({ outcomes: [3], std: "batch", singleton: "zero" })]).toEqual([0]);
    expect([...grpo({ outcomes: [3], std: "batch", eps: 0.5 })]).toEqual([2]);
  });
});

describe("rloo, normalised", () => {
  it("divides by the standard deviation of all advantages", () => {
    // 0, 2 | 0, 4: advantages ∓2 and ∓4, squares 40, deviation √(40 / 3).
    const advantages = rloo({ outcomes: [0, 2, 0, 4], groups: [0, 0, 1, 1], normalise: true, eps: 0 });
    [-2, 2, -4, 4].forEach((a, l) => expect(advantages[l]).toBeCloseTo(a / Math.sqrt(40 / 3), 14));
  });

  it("leaves groups of one and unverified outcomes out of that deviation", () => {
    const outcomes = [0, 2, 9, Number.NaN];
    const groups = [0, 0, 1, 0];
    const [low, high] = rloo({ outcomes: [0, 2], normalise: true });
    expect([...rloo({ outcomes, groups, normalise: true, singleton: "zero" })]).toEqual([low, high, 0, 0]);
    expect(rloo({ outcomes, groups, normalise: true })[2]).toBe(9);
  });
});

describe("opo", () => {
  it("weighs the baseline by length", () => {
    // (1 · 3 + 5 · 1) / 4 = 2.
    expect([...opo({ outcomes: [1, 5], lengths: [3, 1] })]).toEqual([-1, 3]);
  });

  it("of a group of empty rollouts is 0", () => {
    expect([...opo({ outcomes: [1, 5], lengths: [0, 0] })]).toEqual([0, 0]);
  });

  it("refuses as many lengths as it has no outcomes for", () => {
    expect(() => opo({ outcomes: [1, 5], lengths: [1] })).toThrow("opo: expected lengths [L] of length 2, received 1");
  });
});

describe("gpg", () => {
  it("gives what unrewarded rollouts leave unused to the others", () => {
    // Four outcomes, one of them not 0: α = 4.
    expect([...gpg({ outcomes: [1, 0, 0, 0], groups: [0, 0, 1, 1] })]).toEqual([2, -2, 0, 0]);
    expect([...gpg({ outcomes: [1, 0, 0, 0], groups: [0, 0, 1, 1], norm: 4 })]).toEqual([0.5, -0.5, 0, 0]);
  });

  it("without any reward is 0", () => {
    expect([...gpg({ outcomes: [0, 0, 0], groups: [0, 0, 1] })]).toEqual([0, 0, 0]);
  });

  it("does not count unverified outcomes", () => {
    expect([...gpg({ outcomes: [1, 0, Number.NaN] })]).toEqual([1, -1, 0]);
  });
});

describe("maxrl", () => {
  it("divides by the success rate", () => {
    expect([...maxrl({ outcomes: [1, 0, 0, 0], eps: 0 })]).toEqual([3, -1, -1, -1]);
    expect([...maxrl({ outcomes: [1, 1, 1, 0], eps: 0 })].map((a) => a * 3)).toEqual([1, 1, 1, -3]);
    expect(maxrl({ outcomes: [1, 0], eps: 0.5 })[0]).toBe(0.5);
  });

  it("of a group without success is 0", () => {
    expect([...maxrl({ outcomes: [0, 0], eps: 0 })]).toEqual([0, 0]);
  });
});

describe("passAtK", () => {
  it("pays the best what it adds to the second best", () => {
    expect([...passAtK({ outcomes: [1, 4, 2], std: false })]).toEqual([0, 2, 0]);
  });

  it("divides by the deviation of the group when asked", () => {
    // Mean 2, squares 1 + 4 + 1 = 6, over 2: √3.
    expect(passAtK({ outcomes: [1, 4, 1], eps: 0 })[1]).toBeCloseTo(3 / Math.sqrt(3), 14);
  });

  it("pays nothing for a shared best", () => {
    expect([...passAtK({ outcomes: [4, 4, 2] })]).toEqual([0, 0, 0]);
  });
});

describe.each([
  ["opo", (args: Parameters<typeof gpg>[0]) => opo({ ...args, lengths: Array.from(args.outcomes, (_, l) => l + 1) })],
  ["gpg", gpg],
  ["maxrl", maxrl],
  ["passAtK without std", (args: Parameters<typeof gpg>[0]) => passAtK({ ...args, std: false })],
] as const)("%s", (_, estimate) => {
  it("a group of one keeps its outcome or gets nothing, as asked", () => {
    const args = { outcomes: [3, 1, 1], groups: [7, 8, 8] };
    expect([...estimate(args)]).toEqual([3, 0, 0]);
    expect([...estimate({ ...args, singleton: "zero" })]).toEqual([0, 0, 0]);
  });
});
